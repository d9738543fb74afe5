package app_test

import (
	"net/http"
	"strings"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func TestAReportedFailureKeepsItsCodeItsReasonAndWhetherItIsRetryable(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	for body, want := range map[string]event.Failed{
		`{"status":"failed","error":"AMR-WB","code":"unsupported-codec","retryable":false}`: {Code: "unsupported-codec", Detail: "AMR-WB"},
		`{"status":"failed","error":"Nobody speaks.","code":"no-speech"}`:                   {Code: "no-speech", Detail: "Nobody speaks.", Retryable: true},
		`{"status":"failed","error":"x","code":"../../etc/passwd","retryable":false}`:       {Code: "analysis-failed", Detail: "x"},
		`{"status":"failed","error":"x","code":"log-lost"}`:                                 {Code: "analysis-failed", Detail: "x", Retryable: true},
	} {
		job, hook := env.dispatched()
		if got := env.call(hook, body); got.code != http.StatusOK {
			t.Errorf("%s: %+v", body, got)
		}
		want.JobID, want.Attempt = job, 1
		if f := testkit.Await[event.Failed](env.Kit, env.bus, job); f != want {
			t.Errorf("%s: %+v", body, f)
		}
	}
}

func TestARejectionIsFinalUnlessItsBodySaysRetryable(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	for _, c := range []struct {
		mediaType, body string
		want            event.Failed
	}{
		{"application/problem+json", `{"title":"Conflict","status":409,"detail":"No model is loaded.","code":"no-model","retryable":true}`,
			event.Failed{Code: "no-model", Detail: "No model is loaded.", Retryable: true}},
		{"application/json", `{"error":"not audio","code":"unsupported-audio"}`, event.Failed{Code: "unsupported-audio", Detail: "not audio"}},
		{"application/json", `{"error":"later","retryable":true}`, event.Failed{Code: "analysis-rejected", Detail: "later", Retryable: true}},
		{"application/json", `{"detail":{"code":"no-model","message":"No model is loaded.","retryable":true}}`,
			event.Failed{Code: "no-model", Detail: "No model is loaded.", Retryable: true}},
		{"application/json", `{"error":"never"}`, event.Failed{Code: "analysis-rejected", Detail: "never"}},
	} {
		env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
			w.Header().Set("Content-Type", c.mediaType)
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(c.body))
		}
		s := env.store()
		f := testkit.Await[event.Failed](env.Kit, env.bus, s.JobID)
		if f.Code != c.want.Code || f.Retryable != c.want.Retryable || !strings.HasSuffix(f.Detail, c.want.Detail) {
			t.Errorf("%s: %+v", c.body, f)
		}
	}
}
