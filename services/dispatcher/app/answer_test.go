package app_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func TestAnAnswerWithTheResultsIsTheOutcome(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	large := `{"a":"` + strings.Repeat("x", 200_000) + `"}`
	env.run(nil)
	for body, want := range map[string]string{
		`{"status":"completed","analysis_results":{"a":1}}`: `{"a":1}`,
		`{"result":[1,2],"job_id":"x"}`:                     `[1,2]`,
		`{"status":"ok","result":` + large + `}`:            large,
	} {
		env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) { _, _ = w.Write([]byte(body)) }
		s := env.store()
		if c := testkit.Await[event.Completed](env.Kit, env.bus, s.JobID); string(c.Result) != want || c.Attempt != 1 {
			t.Errorf("%.80s: %.80s", body, c.Result)
		}
	}
	env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
		_, _ = w.Write([]byte(`{"status":"error","error":"no speech","code":"no-speech","retryable":false}`))
	}
	s := env.store()
	if f := testkit.Await[event.Failed](env.Kit, env.bus, s.JobID); f.Code != "no-speech" || f.Retryable || f.Detail != "no speech" {
		t.Errorf("%+v", f)
	}
}

func TestAnAnswerThatOnlyAcceptsIsNoOutcome(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	for _, body := range []string{
		`{"status":"success"}`, `{"status":"ok","result":"queued"}`, `{"status":"completed"}`, `{"error":""}`, `{"error":false,"job_id":"x"}`,
		`{"status":"processing","result":{}}`, `{"result":null}`, "OK", "",
	} {
		env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) { _, _ = w.Write([]byte(body)) }
		s := env.store()
		testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)
		env.Settled(consumer)
		if names := env.EventNames(env.bus, s.JobID); names[len(names)-1] != event.NameDispatched {
			t.Errorf("%s: log %v", body, names)
		}
	}
}

func TestAServerThatAnswersWhenItHasFinishedGetsOneRequest(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	release := make(chan struct{})
	env.analyzer.answer = func(http.ResponseWriter, request, int) { <-release }
	env.run(map[string]string{"ANALYSIS_REQUEST_TIMEOUT": "300ms", "ANALYSIS_BREAKER_FAILURES": "100"})
	s := env.store()
	if d := testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID); !d.Unanswered || d.Attempt != 1 {
		t.Errorf("%+v", d)
	}
	env.Settled(consumer)
	requests := env.analyzer.of(s.JobID)
	if len(requests) != 1 {
		t.Errorf("%d requests", len(requests))
	}
	if got := env.call(requests[0].field("webhook_url"), `{"analysis_results":{"a":1}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	close(release)
	testkit.Await[event.Completed](env.Kit, env.bus, s.JobID)
	want := []event.Name{event.NameReceived, event.NameStored, event.NameAttempted, event.NameDispatched, event.NameCompleted}
	if names := env.EventNames(env.bus, s.JobID); !slices.Equal(names, want) {
		t.Errorf("log %v", names)
	}
}

func TestARejectionOfAPresignedURLSaysWhatToTry(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	for body, hint := range map[string]bool{
		`{"detail":"Invalid S3 URL format"}`:                                   true,
		`{"detail":[{"loc":["body","s3_audio_url"],"msg":"must be s3://"}]}`:   true,
		`{"error":"unsupported scheme https, expected s3://bucket/key"}`:       true,
		`{"message":"Not a valid bucket"}`:                                     true,
		`{"error":"no speech"}`:                                                false,
		`{"error":"Invalid S3 URL","code":"no-speech"}`:                        false,
		`{"detail":"The recording is too short to be measured","retryable":1}`: false,
	} {
		env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(body))
		}
		s := env.store()
		if f := testkit.Await[event.Failed](env.Kit, env.bus, s.JobID); strings.Contains(f.Detail, "ANALYSIS_URL_STYLE=s3") != hint {
			t.Errorf("%s: %s", body, f.Detail)
		}
	}
	if !strings.Contains(env.Logged(), "ANALYSIS_URL_STYLE=s3") {
		t.Error("the log does not say what to try")
	}
	shownNoSecret(t, env)
}
