package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

const lapses = "dispatcher-lapsed"

// lapse appends the event `lapsed` for an attempt, as the tracker does.
func (env *env) lapse(job string, attempt int) {
	env.t.Helper()
	env.append(event.Lapsed{JobID: job, Attempt: attempt})
}

func TestAnAttemptThatLapsesIsFollowedByTheNextUntilTheLast(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, first := env.dispatched()
	for attempt := 1; attempt < 3; attempt++ {
		env.lapse(job, attempt)
		if got := env.attempt(job, attempt+1); got.header.Get("Idempotency-Key") != fmt.Sprintf("%s.%d", job, attempt+1) {
			t.Errorf("requested with %v", got.header)
		}
	}
	if got := env.call(first, `{"analysis_results":{"of":1}}`); got.code != http.StatusOK { // a late callback of an old attempt
		t.Errorf("%+v", got)
	}
	env.lapse(job, 3)
	if f := testkit.Await[event.Failed](env.Kit, env.bus, job); f.Code != "analysis-timeout" || f.Attempt != 3 || !f.Retryable {
		t.Errorf("%+v", f)
	}
	env.Settled(lapses)
	if n := len(env.analyzer.requestsOf(job)); n != 3 {
		t.Errorf("%d requests", n)
	}
}

func TestARetryBeginsANewCountOfAttempts(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(map[string]string{"ANALYSIS_MAX_ATTEMPTS": "2"})
	job, _ := env.dispatched()
	env.lapse(job, 1)
	env.attempt(job, 2)
	env.lapse(job, 2)
	testkit.Await[event.Failed](env.Kit, env.bus, job)
	env.append(event.Retried{JobID: job, Attempt: 3})
	env.attempt(job, 3)
	env.lapse(job, 3)
	env.attempt(job, 4)
	env.lapse(job, 4)
	testkit.Eventually(t, func() error {
		if f := testkit.Await[event.Failed](env.Kit, env.bus, job); f.Attempt != 4 || f.Code != "analysis-timeout" {
			return errAttempt(f.Attempt)
		}
		return nil
	})
}

func TestALateResultOfALapsedAttemptCountsWhileItIsTheNewest(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	i := env.run(nil)
	job, hook := env.dispatched()
	must(t, i.Stop())
	env.lapse(job, 1)
	env.analyzer.status = func(int) string { return `{"status":"processing"}` } // still running, so no next attempt begins
	env.run(map[string]string{"TARGET_SERVER_URL": "http://127.0.0.1:1", "ANALYSIS_STATUS_URL": env.analyzer.URL + "/status/{job_id}"})
	if got := env.call(hook, `{"analysis_results":{}}`); got.code != http.StatusOK || got.body["message"] != nil {
		t.Errorf("%+v", got)
	}
	testkit.Await[event.Completed](env.Kit, env.bus, job)
}

func TestTheStatusURLIsAskedBeforeTheNextAttempt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer string
		want   event.Event
	}{
		"completed":                {`{"status":"completed","analysis_results":{"a":1}}`, event.Completed{Result: []byte(`{"a":1}`)}},
		"completed, other name":    {`{"status":"completed","result":{"a":2},"analysis_results":null}`, event.Completed{Result: []byte(`{"a":2}`)}},
		"failed":                   {`{"status":"failed","error":"no speech"}`, event.Failed{Code: "analysis-failed", Detail: "no speech"}},
		"completed, without":       {`{"status":"completed"}`, event.Dispatched{}},
		"unknown":                  {`{"status":"lost"}`, event.Dispatched{}},
		"404":                      {``, event.Dispatched{}},
		"no JSON":                  {`<html>`, event.Dispatched{}},
		"more than may be fetched": {`{"status":"completed","result":"` + strings.Repeat("x", 70_000) + `"}`, event.Dispatched{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) { _, _ = w.Write([]byte(`{"job_id":"a/1 &?"}`)) }
			env.analyzer.status = func(int) string { return c.answer }
			url := env.analyzer.URL + "/status/{analysis_job_id}?for={job_id}"
			env.run(map[string]string{"ANALYSIS_STATUS_URL": url, "MAX_WEBHOOK_BYTES": "60000"})
			env.statusSeen(url)
			job, _ := env.dispatched()
			env.lapse(job, 1)
			switch want := c.want.(type) {
			case event.Completed:
				if got := testkit.Await[event.Completed](env.Kit, env.bus, job); string(got.Result) != string(want.Result) || got.Attempt != 1 {
					t.Errorf("%+v", got)
				}
			case event.Failed:
				if got := testkit.Await[event.Failed](env.Kit, env.bus, job); got.Code != want.Code || got.Detail != want.Detail || got.Attempt != 1 {
					t.Errorf("%+v", got)
				}
			default:
				env.attempt(job, 2)
			}
			if polls := env.analyzer.polls(); len(polls) != 1 || polls[0] != "/status/a%2F1%20%26%3F?for="+job {
				t.Errorf("polled %v", polls)
			}
		})
	}
}

func TestARunningAnalysisIsWaitedForWithoutANextAttempt(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	var lapsed atomic.Bool
	env.analyzer.status = func(n int) string {
		if n < 3 || !lapsed.Load() {
			return `{"status":"processing","progress":80}`
		}
		return `{"status":"completed","result":{}}`
	}
	env.run(map[string]string{"ANALYSIS_STATUS_URL": env.analyzer.URL + "/status/{job_id}", "ANALYSIS_POLL_INTERVAL": "10ms"})
	job, _ := env.dispatched()
	env.lapse(job, 1)
	lapsed.Store(true)
	testkit.Await[event.Completed](env.Kit, env.bus, job)
	if n := len(env.analyzer.requestsOf(job)); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// The server may still be analysing the recording. If the dispatcher sent another attempt, the server
// would analyse the recording twice, and the callback of the first attempt would change nothing.
func TestALapsedAttemptIsNotFollowedByTheNextWhileItsStateCannotBeKnown(t *testing.T) {
	t.Parallel()
	for name, temporary := range map[string]func(http.ResponseWriter){
		"429": status(http.StatusTooManyRequests), "502": status(http.StatusBadGateway), "503": status(http.StatusServiceUnavailable),
		"202": status(http.StatusAccepted), "204": status(http.StatusNoContent),
		"a broken connection": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			settings, polls := env.statusServer("100ms", func(w http.ResponseWriter, _ int) {
				if name == "429" {
					w.Header().Set("Retry-After", "1")
				}
				temporary(w)
			})
			env.run(settings)
			env.statusSeen(settings["ANALYSIS_STATUS_URL"])
			job, hook := env.dispatched()
			env.lapse(job, 1)
			before := len(polls())
			testkit.Eventually(t, func() error {
				if n := len(polls()); n < before+3 {
					return fmt.Errorf("polled %d times, before that %d times", n, before)
				}
				return nil
			})
			if n := len(env.analyzer.requestsOf(job)); n != 1 {
				t.Errorf("%d requests", n)
			}
			if got := env.call(hook, `{"analysis_results":{}}`); got.code != http.StatusOK || got.body["message"] != nil {
				t.Errorf("%+v", got)
			}
			testkit.Await[event.Completed](env.Kit, env.bus, job)
		})
	}
}

func TestAnAnalysisWithoutAServerIDIsNotPolledByIt(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.status = func(int) string { return `{"status":"processing"}` }
	env.run(map[string]string{"ANALYSIS_STATUS_URL": env.analyzer.URL + "/status/{analysis_job_id}"})
	job, _ := env.dispatched()
	env.lapse(job, 1)
	env.attempt(job, 2)
	if polls := env.analyzer.polls(); len(polls) != 0 {
		t.Errorf("polled %v", polls)
	}
	if n := strings.Count(env.Logged(), `"setting":"ANALYSIS_STATUS_URL"`); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

func TestHandlingLapsedAgainSendsNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	env.run(nil)
	running, _ := env.dispatched()
	env.lapse(running, 1)
	env.attempt(running, 2)
	done, _ := env.dispatched()
	env.lapse(done, 1)
	got := env.attempt(done, 2)
	env.call(got.field("webhook_url"), `{"analysis_results":{}}`)
	testkit.Await[event.Completed](env.Kit, env.bus, done)
	env.Settled(lapses)
	env.handleAgain(consumer, lapses)
	if n := len(env.analyzer.requestsOf(running)) + len(env.analyzer.requestsOf(done)); n != 4 {
		t.Errorf("%d requests", n)
	}
}

func TestANextAttemptThatACrashInterruptedIsSentAgain(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	i := env.run(nil)
	job, _ := env.dispatched()
	must(t, i.Stop())
	env.lapse(job, 1)
	env.append(event.Attempted{JobID: job, Attempt: 2}) // as if the dispatcher had crashed before it sent the second attempt
	env.run(nil)
	env.attempt(job, 2)
	env.Settled(lapses)
	want := []event.Name{event.NameReceived, event.NameStored, event.NameLapsed, event.NameAttempted, event.NameDispatched}
	if names := env.EventNames(env.bus, job); !slices.Equal(names, want) {
		t.Errorf("log %v", names)
	}
}

func TestNothingFollowsALapsedAttemptOfAJobThatHasEnded(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	i := env.run(nil)
	job, _ := env.dispatched()
	must(t, i.Stop())
	env.lapse(job, 1)
	env.append(event.Canceled{JobID: job})
	env.run(nil)
	env.Settled(lapses)
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameCanceled || len(env.analyzer.requestsOf(job)) != 1 {
		t.Errorf("log %v, %d requests", names, len(env.analyzer.requestsOf(job)))
	}
}
