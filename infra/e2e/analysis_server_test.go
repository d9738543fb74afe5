package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// history returns the history of a job, and checks that it is valid.
func history(t *testing.T, w *harnesstest.Env, job string) invariants.History {
	t.Helper()
	all, err := invariants.Checker{Bus: w.Bus("test", event.Jobs())}.Histories(w.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := all[job].Check(); err != nil {
		t.Errorf("job %s: %v", job, err)
	}
	return all[job]
}

// names returns the names of a history's events, with the numbers of their attempts.
func names(h invariants.History) string {
	var all []string
	for _, e := range h {
		all = append(all, strings.TrimSuffix(string(e.Name())+" "+e.Occurrence(), " "))
	}
	return strings.Join(all, ", ")
}

// failure is the result of a failed job in the API.
type failure struct {
	Status string
	Error  struct {
		Code, Detail string
		Retryable    bool
	}
}

// impatient returns settings with which an attempt lapses after about one second.
func impatient() map[string]string {
	return map[string]string{
		"ANALYSIS_DEADLINE_FACTOR": "0.1", "ANALYSIS_DEADLINE_MIN": "1s", "ANALYSIS_DEADLINE_MAX": "10s", "DEADLINE_SWEEP_INTERVAL": "100ms",
		"ANALYSIS_POLL_INTERVAL": "200ms",
	}
}

func TestAServerThatNeverCallsBackIsAskedForTheResult(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{
		Settings: map[string]string{"ANALYSIS_POLL_INTERVAL": "200ms"}, Behaviour: analyzer.Behaviour{LoseCallbacks: true}, Poll: true,
	})
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, job, "en"))
	if c := testkit.Await[event.Completed](w.Kit, w.Bus("test", event.Jobs()), job); c.Attempt != 1 {
		t.Errorf("attempt %d completed", c.Attempt)
	}
	if told := names(history(t, w, job)); told != "received, stored, attempted 1, dispatched 1, completed 1" {
		t.Error(told)
	}
}

func TestAServerThatNeverCallsBackIsAskedAFewTimesAndThenTheJobFails(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: impatient(), Behaviour: analyzer.Behaviour{LoseCallbacks: true}})
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	frames := w.Follow(w.Context(), t, job, "en")
	if end := frames[len(frames)-1]; end.Status != "failed" {
		t.Errorf("the end is %+v", end)
	}
	var f failure
	w.Result(t, job, &f)
	if f.Status != "failed" || f.Error.Code != "analysis-timeout" || f.Error.Detail == "" || !f.Error.Retryable {
		t.Errorf("%+v", f)
	}
	want := "received, stored"
	for n := 1; n <= 3; n++ {
		want += fmt.Sprintf(", attempted %d, dispatched %d, lapsed %d", n, n, n)
	}
	if told := names(history(t, w, job)); told != want+", failed 3" {
		t.Error(told)
	}

	// The retry, which begins a new attempt, finds a server without faults.
	if err := w.Analyzer.Behave(analyzer.Behaviour{}); err != nil {
		t.Fatal(err)
	}
	if status, body := ask(t, w, job, "retry"); status != http.StatusAccepted {
		t.Fatalf("%d %v", status, body)
	}
	frames = w.Follow(w.Context(), t, job, "en")
	told := names(history(t, w, job))
	harnesstest.CheckAttempts(t, frames, strings.Count(told, "attempted ")-3)
	if !strings.HasPrefix(told, want+", failed 3, retried 4, attempted 4, ") {
		t.Error(told)
	}
}

func TestAServerThatCallsBackBeforeItAnswersHasReported(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{CallbackFirst: true, Delay: analyzer.Duration(2 * time.Second)}})
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	frames := w.Follow(w.Context(), t, job, "en")
	harnesstest.CheckFrames(t, frames)
	moved := false // whether progress from a callback was shown before the server answered the request
	for _, f := range frames {
		moved = moved || f.Progress > 90 && f.Progress < 100
	}
	if !moved {
		t.Errorf("frames %+v", frames)
	}
	w.Settled("dispatcher-stored") // wait until the dispatcher has handled the server's answer, too
	if told := names(history(t, w, job)); told != "received, stored, attempted 1, completed 1" {
		t.Error(told)
	}
}

func TestAServerThatSendsEveryCallbackFiveTimesInRandomOrderHasReportedOnce(t *testing.T) {
	t.Parallel()
	const jobs, sent = 4, 5 * 4 // per job: three progress callbacks and the outcome, each five times
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{
		Instant: true, Delay: analyzer.Duration(time.Second), RepeatCallbacks: 4, ReorderCallbacks: true,
	}})
	var all []string
	for range jobs {
		all = append(all, w.Upload(t, "a.wav", loadgen.Tone(220, time.Second)))
	}
	ends := map[string]client.Job{}
	for _, job := range all {
		frames := w.Follow(w.Context(), t, job, "en")
		harnesstest.CheckFrames(t, frames)
		ends[job] = frames[len(frames)-1]
	}
	testkit.Eventually(t, func() error {
		if n := strings.Count(w.Logged(), `"path":"/tokens/webhook/analysis-complete","status":200`); n < jobs*sent {
			return fmt.Errorf("%d callbacks", n)
		}
		return nil
	})
	w.Settled("tracker-projection")
	for _, job := range all {
		told := names(history(t, w, job))
		if strings.Replace(told, "dispatched 1, ", "", 1) != "received, stored, attempted 1, completed 1" { // the event dispatched is missing if a callback arrived before it was appended
			t.Error(told)
		}
		if again := w.Follow(w.Context(), t, job, "en"); len(again) != 1 || again[0].ID != ends[job].ID {
			t.Errorf("%+v has become %+v", ends[job], again)
		}
	}
}

// Nothing listens at the host of presigned URLs, so the analysis server can fetch the
// recording only by its s3:// URL, with its own credentials.
func TestAServerThatNeedsTheS3StyleIsGivenIt(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: map[string]string{"ANALYSIS_URL_STYLE": "s3", "S3_PUBLIC_ENDPOINT": "http://127.0.0.1:9"}})
	job := w.Upload(t, "녹음 1.wav", loadgen.Tone(220, 2*time.Second))
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, job, "en"))
	var r result
	w.Result(t, job, &r)
	if r.Status != "completed" || r.Result == nil || r.Result.Duration != 2 {
		t.Errorf("%+v", r)
	}
}
