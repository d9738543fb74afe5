package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	tracker "sori.internal/services/tracker/app"
	"sori.internal/shared/bus"
	"sori.internal/shared/deadletter"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
)

// rejected is the environment of a test with a tracker that has rejected the completed events of
// jobs, since their results were not in staging.
type rejected struct {
	*testkit.Kit
	bus  *bus.Bus
	jobs []string
}

func rejectEndings(t *testing.T, n int) *rejected {
	t.Helper()
	k := testkit.New(t)
	k.MigratedDatabase()
	g := &rejected{Kit: k, bus: k.Bus("tester", event.Jobs(), event.Dead(), event.Staging())}
	k.Run(tracker.Run, nil)
	for range n {
		job := k.NewJob()
		seq, err := joblog.New(g.bus).Append(k.Context(), event.Received{JobID: job, TokenID: 1}, 0)
		if err == nil {
			_, err = joblog.New(g.bus).Append(k.Context(), event.Completed{JobID: job, Attempt: 1, ResultEntry: job + "-result-x", ResultChunks: 1}, seq)
		}
		if err != nil {
			t.Fatal(err)
		}
		g.jobs = append(g.jobs, job)
	}
	testkit.Eventually(t, func() error {
		letters, err := deadletter.New(g.bus).List(k.Context(), "")
		if err == nil && len(letters) < n {
			err = fmt.Errorf("%d letters", len(letters))
		}
		return err
	})
	k.Settled(projection)
	return g
}

// mend puts the missing result of a job into staging.
func (g *rejected) mend(t *testing.T, i int) {
	t.Helper()
	if _, err := staging.New(g.bus).Put(g.Context(), g.jobs[i]+"-result-x", strings.NewReader(`{"score":1}`)); err != nil {
		t.Fatal(err)
	}
}

func (g *rejected) row(t *testing.T, job string) *row {
	t.Helper()
	r, err := tableOf(t, g.Kit).find(g.Context(), job)
	if err != nil || r == nil {
		t.Fatalf("row %v, %v", r, err)
	}
	return r
}

func TestADeadLetterIsListedShownReplayedAndGone(t *testing.T) {
	t.Parallel()
	g := rejectEndings(t, 1)
	job := g.jobs[0]
	shows(t, g.Kit, []string{"dead", "list"}, job, projection, "completed", "result-lost", "1 of 1 dead letters")
	shows(t, g.Kit, []string{"dead", "list", "-consumer", "another"}, "0 of 0 dead letters", "another has none; these consumers have dead letters: "+projection+"\n")
	shows(t, g.Kit, []string{"dead", "show", "1"}, "result-lost", "audio.jobs."+job+".completed, sequence 2", "has ended: completed", job+"-result-x")
	var l deadletter.DeadLetter
	if err := json.Unmarshal([]byte(shows(t, g.Kit, []string{"dead", "list", "-json"})), &l); err != nil || l.Job != job || l.EventSeq != 2 {
		t.Errorf("as JSON: %+v, %v", l, err)
	}
	shown, err := sorictl(t, g.Kit, nil, "dead", "replay", "1")
	if err == nil {
		t.Error("what is not mended is replayed")
	}
	contains(t, shown, "not replayed", "result-lost", "0 of 1 dead letters replayed")
	if r := g.row(t, job); r.Status != "failed" {
		t.Errorf("before: %+v", r)
	}
	g.mend(t, 0)
	shows(t, g.Kit, []string{"dead", "replay", "1"}, "1 of 1 dead letters replayed", job+", has ended: completed")
	if r := g.row(t, job); r.Status != "completed" || r.Progress != 100 || r.ErrorCode != nil || r.ResultBytes == nil {
		t.Errorf("after: %+v", r)
	}
	shows(t, g.Kit, []string{"dead", "list"}, "0 of 0 dead letters")
}

func TestAllLettersAreReplayedAndThoseThatFailStay(t *testing.T) {
	t.Parallel()
	g := rejectEndings(t, 3)
	g.mend(t, 0)
	g.mend(t, 2)
	shown, err := sorictl(t, g.Kit, nil, "dead", "replay", "-all", "-consumer", "nobody")
	if err != nil {
		t.Error(err)
	}
	contains(t, shown, "0 of 0 dead letters replayed", "nobody has none", projection)
	shown, err = sorictl(t, g.Kit, nil, "dead", "replay", "-all", "-consumer", projection)
	if err == nil {
		t.Error("one could not be replayed")
	}
	contains(t, shown, "2 of 3 dead letters replayed")
	shows(t, g.Kit, []string{"dead", "list"}, g.jobs[1], "1 of 1 dead letters")
	for i, want := range []string{"completed", "failed", "completed"} {
		if r := g.row(t, g.jobs[i]); r.Status != want {
			t.Errorf("job %d: %+v", i, r)
		}
	}
}

func TestTheNewestLettersAreListed(t *testing.T) {
	t.Parallel()
	g := rejectEndings(t, 3)
	shows(t, g.Kit, []string{"dead", "list", "-n", "2"}, "2 of 3 dead letters")
	if all := shows(t, g.Kit, []string{"dead", "list", "-n", "0"}, g.jobs...); strings.Count(all, "result-lost") != 3 {
		t.Errorf("all: %s", all)
	}
}

func TestADroppedLetterIsNotReplayed(t *testing.T) {
	t.Parallel()
	g := rejectEndings(t, 2)
	shows(t, g.Kit, []string{"dead", "drop", "1"}, "1 deleted")
	if _, err := sorictl(t, g.Kit, nil, "dead", "replay", "1"); err == nil {
		t.Error("replayed")
	}
	shows(t, g.Kit, []string{"dead", "list"}, "1 of 1 dead letters")
}

func TestALetterWaitsWhereNobodyRunsItsConsumer(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	k.MigratedDatabase()
	b := k.Bus("tester", event.Jobs(), event.Dead(), event.Staging())
	instance := k.Run(tracker.Run, nil)
	job := k.NewJob()
	js := k.JetStream()
	if _, err := js.Publish(k.Context(), k.Namespace().Subject(event.SubjectOf(job, event.NameReceived)), []byte("\x1b[2J{")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, func() error {
		letters, err := deadletter.New(b).List(k.Context(), "")
		if err == nil && len(letters) == 0 {
			err = fmt.Errorf("none yet")
		}
		return err
	})
	if shown := shows(t, k, []string{"dead", "show", "1"}, "unreadable-event", job); strings.Contains(shown, "\x1b") {
		t.Errorf("a letter moves the cursor: %q", shown)
	}
	if err := instance.Stop(); err != nil {
		t.Fatal(err)
	}
	shown, err := sorictl(t, k, nil, "dead", "replay", "-all")
	if err == nil {
		t.Error("replayed by nobody")
	}
	contains(t, shown, "consumer-away", "0 of 1")
	shows(t, k, []string{"dead", "list"}, "1 of 1 dead letters")
}
