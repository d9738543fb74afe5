package e2e_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/event"
)

// ask sends a request for an action on a job, as a frontend does, and returns the answer.
func ask(t *testing.T, w *harnesstest.Env, job, action string) (status int, body map[string]any) {
	t.Helper()
	status, text := harnesstest.Send(t, w.Client, http.MethodPost, w.Gateway+"/jobs/"+job+"/"+action)
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("status %d: %s", status, text)
	}
	return status, body
}

func TestAFailedJobIsRetriedWithoutUploadingItAgain(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Fail: true, FailReason: "no speech found"}})
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	first := w.Follow(w.Context(), t, job, "en")
	if end := first[len(first)-1]; end.Status != "failed" {
		t.Fatalf("the end is %+v", end)
	}
	if err := w.Analyzer.Behave(analyzer.Behaviour{}); err != nil {
		t.Fatal(err)
	}
	if status, body := ask(t, w, job, "retry"); status != http.StatusAccepted || body["job_id"] != job || body["status"] != "processing" {
		t.Fatalf("%d %v", status, body)
	}
	second := w.Follow(w.Context(), t, job, "en")
	harnesstest.CheckFrames(t, second)
	if first := second[0].Progress; first < 70 {
		t.Errorf("it went on at %d", first)
	}
	stored := 0
	for _, m := range w.Messages(event.Jobs()) {
		if m.Subject == event.SubjectOf(job, event.NameStored) {
			stored++
		}
	}
	if stored != 1 {
		t.Errorf("it was stored %d times", stored)
	}
	if status, body := ask(t, w, job, "retry"); status != http.StatusConflict || body["current_status"] != "completed" {
		t.Errorf("%d %v", status, body)
	}
}

func TestACanceledJobStaysCanceledWhateverComes(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(time.Second)}})
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	if status, body := ask(t, w, job, "cancel"); status != http.StatusAccepted || body["status"] != "canceled" {
		t.Fatalf("%d %v", status, body)
	}
	frames := w.Follow(w.Context(), t, job, "en")
	if len(frames) != 1 || frames[0].Status != "canceled" || frames[0].Message != "Analysis canceled" {
		t.Errorf("frames %+v", frames)
	}
	for _, consumer := range []string{"uploader-received", "dispatcher-stored", "tracker-projection"} {
		w.Settled(consumer)
	}
	story := w.EventNames(w.Bus("test", event.Jobs()), job)
	if !slices.Contains(story, event.NameCanceled) || story[len(story)-1] != event.NameCanceled {
		t.Errorf("story %v", story)
	}
	if strings.Contains(w.Logged(), `"level":"error"`) {
		t.Error("something went wrong")
	}
}
