package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func TestABusyServerGetsTheSameAttemptAgainAfterItsRetryAfter(t *testing.T) {
	t.Parallel()
	const delay = 2 * time.Second
	for name, c := range map[string]struct {
		code       int
		retryAfter func() string
		slack      time.Duration // tolerance: an HTTP date has no fractions of a second
	}{
		"503 and seconds": {http.StatusServiceUnavailable, func() string { return "2" }, 50 * time.Millisecond},
		"429 and seconds": {http.StatusTooManyRequests, func() string { return "2" }, 50 * time.Millisecond},
		"429 and a date": {
			http.StatusTooManyRequests, func() string { return time.Now().UTC().Add(delay).Format(http.TimeFormat) }, 1050 * time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			var first, second atomic.Int64
			env.analyzer.answer = func(w http.ResponseWriter, _ request, n int) {
				if n == 1 {
					first.Store(time.Now().UnixNano())
					w.Header().Set("Retry-After", c.retryAfter())
					w.WriteHeader(c.code)
					return
				}
				second.CompareAndSwap(0, time.Now().UnixNano())
			}
			s := env.store()
			env.run(nil)
			testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)
			if waited := time.Duration(second.Load() - first.Load()); waited < delay-c.slack {
				t.Errorf("it waited %v", waited)
			}
			for _, a := range env.analyzer.requestsOf(s.JobID) {
				if a.header.Get("Idempotency-Key") != s.JobID+".1" {
					t.Errorf("key %q", a.header.Get("Idempotency-Key"))
				}
			}
			if n := env.count(event.SubjectOf(s.JobID, event.NameAttempted)); n != 1 {
				t.Errorf("attempted %d times", n)
			}
		})
	}
}

func TestATemporaryErrorHasTheRequestRepeated(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(http.ResponseWriter){
		"408": status(http.StatusRequestTimeout), "425": status(http.StatusTooEarly), "429": status(http.StatusTooManyRequests),
		"500": status(http.StatusInternalServerError), "502": status(http.StatusBadGateway), "504": status(http.StatusGatewayTimeout),
		"a broken connection": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			env.analyzer.answer = func(w http.ResponseWriter, _ request, n int) {
				if n == 1 {
					fail(w)
				}
			}
			s := env.store()
			env.run(nil)
			testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)
			if got := env.analyzer.requestsOf(s.JobID); len(got) != 2 || got[1].header.Get("Idempotency-Key") != s.JobID+".1" {
				t.Errorf("%d requests", len(got))
			}
		})
	}
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

func TestAnUnavailableServerHasTheRequestRepeated(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	proxy := env.Proxy(env.analyzer.URL + "/analyze")
	proxy.Cut()
	s := env.store()
	env.run(map[string]string{"TARGET_SERVER_URL": proxy.URL})
	testkit.Await[event.Attempted](env.Kit, env.bus, s.JobID)
	testkit.Eventually(t, func() error {
		proxy.Restore()
		if n := len(env.analyzer.requestsOf(s.JobID)); n == 0 {
			return fmt.Errorf("no request yet")
		}
		return nil
	})
	testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)
	if names := env.EventNames(env.bus, s.JobID); len(names) != 4 {
		t.Errorf("log %v", names)
	}
}

func TestARejectionFailsTheJobWithTheServersReasonAndNoSecret(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	for _, c := range []struct {
		name   string
		code   int
		body   func(request) string
		reason string
	}{
		{"detail", 422, func(request) string { return `{"detail":"소리가 너무 짧습니다"}` }, "소리가 너무 짧습니다"},
		{"error", 400, func(request) string { return `{"error":"no speech"}` }, "no speech"},
		{"text", 404, func(request) string { return "no such model\n" }, "no such model"},
		{"page", 403, func(request) string { return "<html>nginx</html>" }, "403"},
		{"nothing", 401, func(request) string { return "" }, "401"},
		{"long", 400, func(request) string { return strings.Repeat("x", 60_000) }, "xxx…"},
		{"binary", 400, func(request) string { return "bad\x00\xff\x1b[31mfile" }, "bad[31mfile"},
		{"presigned", 400, func(a request) string { return "cannot fetch " + a.field("s3_audio_url") + ": 403" }, "?… 403"},
		{"webhook", 400, func(a request) string { return `{"detail":"bad url '` + a.field("webhook_url") + `'"}` }, "?…'"},
		{"echo", 400, func(a request) string { return "unknown fields ?" + string(a.body) }, "?…"},
		{"redirect", 302, func(request) string { return "" }, "302"},
	} {
		env.analyzer.answer = func(w http.ResponseWriter, a request, n int) {
			if c.code == http.StatusFound {
				w.Header().Set("Location", "/elsewhere") // the client must not follow it with a GET
			}
			if n > 0 && a.field("job_id") != "" {
				w.WriteHeader(c.code)
			}
			_, _ = w.Write([]byte(c.body(a)))
		}
		s := env.store()
		failed := testkit.Await[event.Failed](env.Kit, env.bus, s.JobID)
		if failed.Code != "analysis-rejected" || failed.Attempt != 1 || failed.Retryable || !strings.Contains(failed.Detail, c.reason) || len(failed.Detail) > 2000 {
			t.Errorf("%s: %+v", c.name, failed)
		}
		if strings.Contains(failed.Detail, "X-Amz-") || strings.Contains(failed.Detail, "sig=") {
			t.Errorf("%s shows a secret: %s", c.name, failed.Detail)
		}
		env.Settled(consumer)
		if n := len(env.analyzer.requestsOf(s.JobID)); n != 1 {
			t.Errorf("%s: %d requests", c.name, n)
		}
	}
	shownNoSecret(t, env)
}

// shownNoSecret checks that the logs so far contain no secret.
func shownNoSecret(t *testing.T, env *env) {
	t.Helper()
	settings := env.Settings(nil)
	for _, secret := range []string{"X-Amz-Signature", "sig=", settings["WEBHOOK_SECRET"], settings["AWS_SECRET_ACCESS_KEY"]} {
		if strings.Contains(env.Logged(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// The connection breaks after the server has received the request, or the process stops. The server
// answers the repetition with 409 while it handles the first request, or because it has a job with
// this id. If the job failed, the callback of the analysis would be lost.
func TestAServerThatRefusesTheRepetitionOfARequestHasAcceptedTheFirst(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.answer = func(w http.ResponseWriter, _ request, n int) {
		if n == 1 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"detail":"The job exists."}`))
	}
	s := env.store()
	env.run(nil)
	if d := testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID); !d.Unanswered || d.Attempt != 1 {
		t.Errorf("%+v", d)
	}
	requests := env.analyzer.requestsOf(s.JobID)
	if len(requests) != 2 {
		t.Errorf("%d requests", len(requests))
	}
	if got := env.call(requests[0].field("webhook_url"), `{"analysis_results":{"a":1}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if c := testkit.Await[event.Completed](env.Kit, env.bus, s.JobID); string(c.Result) != `{"a":1}` {
		t.Errorf("result %s", c.Result)
	}
}

func TestARedirectThatRepeatsTheRequestIsFollowed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.answer = func(w http.ResponseWriter, _ request, n int) {
		if n == 1 {
			w.Header().Set("Location", "/analyze/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	}
	s := env.store()
	env.run(nil)
	testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)
	if got := env.analyzer.requestsOf(s.JobID); len(got) != 2 || string(got[0].body) != string(got[1].body) {
		t.Errorf("%d requests", len(got))
	}
}

func TestACallbackMayComeBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	env.analyzer.answer = func(w http.ResponseWriter, a request, _ int) {
		got, err := env.post(a.field("webhook_url"), `{"analysis_results":{"score":1}}`)
		if err != nil || got.code != http.StatusOK {
			t.Errorf("the callback: %+v %v", got, err)
		}
		w.WriteHeader(http.StatusAccepted)
	}
	s := env.store()
	testkit.Await[event.Completed](env.Kit, env.bus, s.JobID)
	env.Settled(consumer)
	if names := env.EventNames(env.bus, s.JobID); !slices.Equal(names, []event.Name{event.NameReceived, event.NameStored, event.NameAttempted, event.NameCompleted}) {
		t.Errorf("log %v", names)
	}
}
