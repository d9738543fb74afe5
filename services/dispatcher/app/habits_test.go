package app_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func TestAServerThatAnswersWithTheResultsHasReported(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	large := `{"a":"` + strings.Repeat("x", 200_000) + `"}`
	r.run(nil)
	for body, want := range map[string]string{
		`{"status":"completed","analysis_results":{"a":1}}`: `{"a":1}`,
		`{"result":[1,2],"job_id":"x"}`:                     `[1,2]`,
		`{"status":"ok","result":` + large + `}`:            large,
	} {
		r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) { _, _ = w.Write([]byte(body)) }
		s := r.store()
		if c := testkit.Await[event.Completed](r.Kit, r.bus, s.JobID); string(c.Result) != want || c.Attempt != 1 {
			t.Errorf("%.80s: %.80s", body, c.Result)
		}
	}
	r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) {
		_, _ = w.Write([]byte(`{"status":"error","error":"no speech","code":"no-speech","retryable":false}`))
	}
	s := r.store()
	if f := testkit.Await[event.Failed](r.Kit, r.bus, s.JobID); f.Code != "no-speech" || f.Retryable || f.Detail != "no speech" {
		t.Errorf("%+v", f)
	}
}

func TestAnAnswerThatOnlyAcceptsIsNoOutcome(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	for _, body := range []string{
		`{"status":"success"}`, `{"status":"ok","result":"queued"}`, `{"status":"completed"}`, `{"error":""}`, `{"error":false,"job_id":"x"}`,
		`{"status":"processing","result":{}}`, `{"result":null}`, "OK", "",
	} {
		r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) { _, _ = w.Write([]byte(body)) }
		s := r.store()
		testkit.Await[event.Dispatched](r.Kit, r.bus, s.JobID)
		r.Settled(consumer)
		if story := r.Story(r.bus, s.JobID); story[len(story)-1] != event.NameDispatched {
			t.Errorf("%s: story %v", body, story)
		}
	}
}

func TestAServerThatAnswersWhenItHasFinishedIsAskedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	release := make(chan struct{})
	r.analyzer.answer = func(http.ResponseWriter, asked, int) { <-release }
	r.run(map[string]string{"ANALYSIS_REQUEST_TIMEOUT": "300ms", "ANALYSIS_BREAKER_FAILURES": "100"})
	s := r.store()
	if d := testkit.Await[event.Dispatched](r.Kit, r.bus, s.JobID); !d.Unanswered || d.Attempt != 1 {
		t.Errorf("%+v", d)
	}
	r.Settled(consumer)
	asked := r.analyzer.of(s.JobID)
	if len(asked) != 1 {
		t.Errorf("asked %d times", len(asked))
	}
	if got := r.call(asked[0].field("webhook_url"), `{"analysis_results":{"a":1}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	close(release)
	testkit.Await[event.Completed](r.Kit, r.bus, s.JobID)
	want := []event.Name{event.NameReceived, event.NameStored, event.NameAttempted, event.NameDispatched, event.NameCompleted}
	if story := r.Story(r.bus, s.JobID); !slices.Equal(story, want) {
		t.Errorf("story %v", story)
	}
}

func TestARejectionOfAPresignedURLSaysWhatToTry(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	for body, hint := range map[string]bool{
		`{"detail":"Invalid S3 URL format"}`:                                   true,
		`{"detail":[{"loc":["body","s3_audio_url"],"msg":"must be s3://"}]}`:   true,
		`{"error":"unsupported scheme https, expected s3://bucket/key"}`:       true,
		`{"message":"Not a valid bucket"}`:                                     true,
		`{"error":"no speech"}`:                                                false,
		`{"error":"Invalid S3 URL","code":"no-speech"}`:                        false,
		`{"detail":"The recording is too short to be measured","retryable":1}`: false,
	} {
		r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(body))
		}
		s := r.store()
		if f := testkit.Await[event.Failed](r.Kit, r.bus, s.JobID); strings.Contains(f.Detail, "ANALYSIS_URL_STYLE=s3") != hint {
			t.Errorf("%s: %s", body, f.Detail)
		}
	}
	if !strings.Contains(r.Logged(), "ANALYSIS_URL_STYLE=s3") {
		t.Error("the log does not say what to try")
	}
	shownNoSecret(t, r)
}
