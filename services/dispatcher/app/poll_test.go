package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/services/dispatcher/internal/analyzerclient"
	"sori.internal/shared/coordination"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// polling returns settings with a status URL.
func (env *env) polling(interval string) map[string]string {
	return map[string]string{"ANALYSIS_STATUS_URL": env.analyzer.URL + "/status/{job_id}", "ANALYSIS_POLL_INTERVAL": interval}
}

// awaitPolls waits until the analysis server has been polled n times.
func (env *env) awaitPolls(n int) {
	env.t.Helper()
	testkit.Eventually(env.t, func() error {
		if got := len(env.analyzer.polls()); got < n {
			return fmt.Errorf("%d polls, not yet %d", got, n)
		}
		return nil
	})
}

// statusSeen sets the flag that the status URL has returned a status. A service that then accepts
// an attempt does not poll the status URL at once. The service must be running.
func (env *env) statusSeen(url string) {
	env.t.Helper()
	must(env.t, coordination.NewFlag(env.bus, "ANALYSIS_STATUS", analyzerclient.StatusURL(url).Key()).Set(env.Context()))
}

// losesAnalyses makes the status URL answer that an analysis is running. After a call of restart it
// answers 404, as if the server had restarted and lost the analysis.
func (env *env) losesAnalyses() (restart func()) {
	var lost atomic.Bool
	env.analyzer.status = func(int) string {
		if lost.Load() {
			return "" // 404
		}
		return `{"status":"processing"}`
	}
	return func() { lost.Store(true) }
}

func TestAnAttemptThatTheServerLostIsFollowedByTheNext(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	var known atomic.Bool
	known.Store(true)
	env.analyzer.status = func(int) string {
		if known.Load() {
			return `{"status":"processing"}`
		}
		return "" // 404
	}
	env.run(env.polling("100ms"))
	job, hook := env.dispatched()
	env.awaitPolls(1)
	if n := len(env.analyzer.requestsOf(job)); n != 1 {
		t.Errorf("%d requests while it goes on", n)
	}
	known.Store(false) // the server restarts and loses the analysis: 404
	second := env.attempt(job, 2)
	known.Store(true)
	if got := env.call(hook, `{"analysis_results":{"of":1}}`); got.code != http.StatusOK {
		t.Errorf("the old attempt: %+v", got)
	}
	if got := env.call(second.field("webhook_url"), `{"analysis_results":{"of":2}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if c := testkit.Await[event.Completed](env.Kit, env.bus, job); c.Attempt != 2 || string(c.Result) != `{"of":2}` {
		t.Errorf("%+v", c)
	}
}

func TestAServerThatLosesEveryAttemptGetsNoMoreThanMaxAttempts(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.status = func(n int) string {
		if n == 1 {
			return `{"status":"processing"}`
		}
		return ""
	}
	settings := env.polling("100ms")
	settings["ANALYSIS_MAX_ATTEMPTS"] = "2"
	env.run(settings)
	job, _ := env.dispatched()
	if f := testkit.Await[event.Failed](env.Kit, env.bus, job); f.Code != "analysis-timeout" || f.Attempt != 2 || !f.Retryable {
		t.Errorf("%+v", f)
	}
	if n := len(env.analyzer.requestsOf(job)); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// A server without a route at the configured status URL answers every poll with 404, although its
// analyses go on. The job must not lose an attempt.
func TestAStatusURLThatAlwaysAnswers404CostsNoAttempt(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.status = func(int) string { return "" }
	env.run(env.polling("100ms"))
	job, hook := env.dispatched()
	env.awaitPolls(10)
	if n := len(env.analyzer.requestsOf(job)); n != 1 {
		t.Errorf("%d requests", n)
	}
	if n := strings.Count(env.Logged(), `"setting":"ANALYSIS_STATUS_URL"`); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	if got := env.call(hook, `{"analysis_results":{"a":1}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if c := testkit.Await[event.Completed](env.Kit, env.bus, job); c.Attempt != 1 {
		t.Errorf("%+v", c)
	}
}

// The first poll gets a 404, because the server registers an analysis a moment after it accepts the
// request. The poll must be repeated long before the poll interval, which is an hour.
// statusServer starts a server of a status URL. It returns the settings with it, and the times of its
// polls so far.
func (env *env) statusServer(interval string, answer func(w http.ResponseWriter, n int)) (settings map[string]string, polls func() []time.Time) {
	env.t.Helper()
	var mu sync.Mutex
	var times []time.Time
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		times = append(times, time.Now())
		n := len(times)
		mu.Unlock()
		answer(w, n)
	}))
	env.t.Cleanup(s.Close)
	settings = map[string]string{"ANALYSIS_STATUS_URL": s.URL + "/{job_id}", "ANALYSIS_POLL_INTERVAL": interval}
	return settings, func() []time.Time {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(times)
	}
}

func TestAStatusURLThatIsBusyIsPolledAfterItsRetryAfter(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	settings, polls := env.statusServer("100ms", func(w http.ResponseWriter, n int) {
		switch n {
		case 1:
			_, _ = io.WriteString(w, `{"status":"processing"}`)
		case 2:
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			_, _ = io.WriteString(w, `{"status":"completed","result":{"a":1}}`)
		}
	})
	env.run(settings)
	job, _ := env.dispatched()
	testkit.Await[event.Completed](env.Kit, env.bus, job)
	if at := polls(); len(at) != 3 || at[2].Sub(at[1]) < 2*time.Second-slack {
		t.Errorf("polled at %v", at)
	}
}

func TestTheFirstPollIsRepeatedIfItIsAnsweredWith404(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.status = func(n int) string {
		if n == 2 {
			return `{"status":"processing"}`
		}
		return "" // 404
	}
	env.run(env.polling("1h"))
	job, hook := env.dispatched()
	env.awaitPolls(2)
	if got := env.call(hook, `{"status":"processing","progress":20}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	env.attempt(job, 2) // the third poll gets a 404, so the analysis is lost and the next attempt is sent
}

// A proxy may answer for a server that is unavailable, or a server may answer every path with an
// HTML page. Such an answer must not count as a status.
func TestAnAnswerWithoutAStatusDoesNotShowThatTheStatusURLWorks(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.status = func(n int) string {
		return map[int]string{1: "<html>", 2: `{}`, 3: `{"status":"?"}`, 4: `[]`}[n]
	}
	env.run(env.polling("100ms"))
	job, _ := env.dispatched()
	env.awaitPolls(10)
	if n := len(env.analyzer.requestsOf(job)); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestARestartOfDispatcherAndAnalysisServerLosesNoJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	restart := env.losesAnalyses()
	first := env.run(env.polling("100ms"))
	job, _ := env.dispatched()
	env.awaitPolls(1)
	must(t, first.Stop())
	restart()
	env.run(env.polling("100ms"))
	if n := env.attempt(job, 2).header.Get("Idempotency-Key"); n != job+".2" {
		t.Errorf("requested with %s", n)
	}
}

// The poll interval is an hour. The first poll, and the poll after the server stops sending
// progress, must come much earlier.
func TestAServerWhoseReportsStopIsPolledWithinSecondsAndTheLostAttemptFollowedByTheNext(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	restart := env.losesAnalyses()
	env.run(env.polling("1h"))
	job, hook := env.dispatched()
	env.awaitPolls(1)
	if got := env.call(hook, `{"status":"processing","progress":20}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	began := time.Now()
	restart()
	env.attempt(job, 2)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("made again after %v", took)
	}
}
