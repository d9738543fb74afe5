package main

import (
	"strings"
	"testing"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/world"
)

func TestAJobIsShownOnOneScreen(t *testing.T) {
	t.Parallel()
	w := world.Start(t, world.Options{Behaviour: analyzer.Behaviour{Instant: true}})
	job := done(t, w, 1)[0]
	shown := shows(t, w.Kit, []string{"job", strings.ToUpper(job)},
		job+", has ended: completed", "completed, progress 100, attempt 1", `file "녹음 1.wav"`, "s3://", "audio/"+job+"_", "32044 bytes")
	at := 0
	for _, name := range []string{"received", "stored", "attempted", "completed"} { // a callback may overtake dispatched
		i := strings.Index(shown[at:], "  "+name+"  ")
		if i < 0 {
			t.Fatalf("%s is not shown in its place:\n%s", name, shown)
		}
		at += i
	}
	if lines := strings.Count(shown, "\n"); lines > 24 {
		t.Errorf("%d lines:\n%s", lines, shown)
	}
	shows(t, w.Kit, []string{"job", w.NewJob()}, "no longer in the log", "row", "none")
}

func TestWhatCannotBeReachedIsToldAndTheRestIsShown(t *testing.T) {
	t.Parallel()
	w := world.Start(t, world.Options{Behaviour: analyzer.Behaviour{Instant: true}})
	job := done(t, w, 1)[0]
	nowhere := map[string]string{"DATABASE_URL": "postgres://u:hunter2@127.0.0.1:9/x", "S3_ENDPOINT": "http://127.0.0.1:9"}
	shown, err := sorictl(t, w.Kit, nowhere, "job", job)
	if err == nil {
		t.Error("nothing is said of what is away")
	}
	contains(t, shown, "not known: The database cannot be reached", "not known: The storage cannot be reached", "has ended: completed", "attempted")
	if strings.Contains(shown+said(err), "hunter2") {
		t.Error("a password is shown")
	}
}
