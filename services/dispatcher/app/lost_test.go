package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// watched are settings under which the analysis server is asked how analyses stand.
func (r *rig) watched(every string) map[string]string {
	return map[string]string{"ANALYSIS_STATUS_URL": r.analyzer.URL + "/status/{job_id}", "ANALYSIS_POLL_INTERVAL": every}
}

// awaitPolls waits until the analysis server was asked n times how an analysis stands.
func (r *rig) awaitPolls(n int) {
	r.t.Helper()
	testkit.Eventually(r.t, func() error {
		if got := len(r.analyzer.polls()); got < n {
			return fmt.Errorf("asked %d times, not yet %d", got, n)
		}
		return nil
	})
}

// forgetful has the analysis server tell that an analysis goes on until it is restarted,
// by the function that is returned.
func (r *rig) forgetful() (restart func()) {
	var lost atomic.Bool
	r.analyzer.status = func(int) string {
		if lost.Load() {
			return "" // 404
		}
		return `{"status":"processing"}`
	}
	return func() { lost.Store(true) }
}

func TestAnAttemptThatItsServerHasLostIsFollowedByTheNext(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var known atomic.Bool
	known.Store(true)
	r.analyzer.status = func(int) string {
		if known.Load() {
			return `{"status":"processing"}`
		}
		return "" // 404
	}
	r.run(r.watched("100ms"))
	job, hook := r.dispatched()
	r.awaitPolls(1)
	if n := len(r.analyzer.of(job)); n != 1 {
		t.Errorf("asked %d times while it goes on", n)
	}
	known.Store(false) // it was restarted
	second := r.attempt(job, 2)
	known.Store(true)
	if got := r.call(hook, `{"analysis_results":{"of":1}}`); got.code != http.StatusOK {
		t.Errorf("the old attempt: %+v", got)
	}
	if got := r.call(second.field("webhook_url"), `{"analysis_results":{"of":2}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if c := testkit.Await[event.Completed](r.Kit, r.bus, job); c.Attempt != 2 || string(c.Result) != `{"of":2}` {
		t.Errorf("%+v", c)
	}
}

func TestAServerThatLosesEveryAttemptIsNotAskedForEver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.analyzer.status = func(n int) string {
		if n == 1 {
			return `{"status":"processing"}`
		}
		return ""
	}
	settings := r.watched("100ms")
	settings["ANALYSIS_MAX_ATTEMPTS"] = "2"
	r.run(settings)
	job, _ := r.dispatched()
	if f := testkit.Await[event.Failed](r.Kit, r.bus, job); f.Code != "analysis-timeout" || f.Attempt != 2 || !f.Retryable {
		t.Errorf("%+v", f)
	}
	if n := len(r.analyzer.of(job)); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// A server whose status route is not where the setting says answers every question with
// 404, and goes on with its analyses.
func TestAStatusURLThatLeadsNowhereCostsNoAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.analyzer.status = func(int) string { return "" }
	r.run(r.watched("100ms"))
	job, hook := r.dispatched()
	r.awaitPolls(10)
	if n := len(r.analyzer.of(job)); n != 1 {
		t.Errorf("asked for %d attempts", n)
	}
	if n := strings.Count(r.Logged(), `"setting":"ANALYSIS_STATUS_URL"`); n != 1 {
		t.Errorf("the log tells %d times of it", n)
	}
	if got := r.call(hook, `{"analysis_results":{"a":1}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if c := testkit.Await[event.Completed](r.Kit, r.bus, job); c.Attempt != 1 {
		t.Errorf("%+v", c)
	}
}

// Some proxies answer for a server that is away, and some pages for every address.
func TestAnAnswerThatIsNoStatusDoesNotShowThatTheServerTellsThem(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.analyzer.status = func(n int) string {
		return map[int]string{1: "<html>", 2: `{}`, 3: `{"status":"?"}`, 4: `[]`}[n]
	}
	r.run(r.watched("100ms"))
	job, _ := r.dispatched()
	r.awaitPolls(10)
	if n := len(r.analyzer.of(job)); n != 1 {
		t.Errorf("asked for %d attempts", n)
	}
}

func TestARestartOfDispatcherAndAnalysisServerStrandsNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	restart := r.forgetful()
	first := r.run(r.watched("100ms"))
	job, _ := r.dispatched()
	r.awaitPolls(1)
	must(t, first.Stop())
	restart()
	r.run(r.watched("100ms"))
	if n := r.attempt(job, 2).header.Get("Idempotency-Key"); n != job+".2" {
		t.Errorf("asked for %s", n)
	}
}

// The interval is that of a server that never reports: neither the first look nor the
// end of a server's reports waits for it.
func TestAServerWhoseReportsStopIsAskedWithinSecondsAndTheLostAttemptMadeAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	restart := r.forgetful()
	r.run(r.watched("1h"))
	job, hook := r.dispatched()
	r.awaitPolls(1)
	if got := r.call(hook, `{"status":"processing","progress":20}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	began := time.Now()
	restart()
	r.attempt(job, 2)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("made again after %v", took)
	}
}
