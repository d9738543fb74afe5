package app_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/services/dispatcher/app"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// waitingEvents returns the waiting events that were published for a job so far.
func (env *env) waitingEvents(job string) []event.Waiting {
	env.t.Helper()
	var waits []event.Waiting
	for _, m := range env.Messages(event.Jobs()) {
		if m.Subject == event.Subject(event.Waiting{JobID: job}) {
			e, err := event.Decode(m.Subject, m.Data)
			must(env.t, err)
			waits = append(waits, e.(event.Waiting))
		}
	}
	return waits
}

// waiting waits until a waiting event of a job is published, and returns the newest one.
func (env *env) waiting(job string) event.Waiting {
	env.t.Helper()
	var last event.Waiting
	testkit.Eventually(env.t, func() error {
		waits := env.waitingEvents(job)
		if len(waits) == 0 {
			return errors.New("no waiting event")
		}
		last = waits[len(waits)-1]
		return nil
	})
	return last
}

// metric returns a metric of the running instance.
func (env *env) metric(name string) string {
	env.t.Helper()
	for line := range strings.Lines(fetch(env.t, env.service.Admin(env.t)+"/metrics")) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

const isOpen = "sori_analysis_breaker_open"

// slack is the inaccuracy of clocks and timers that the tests tolerate.
const slack = 50 * time.Millisecond

func TestTheBreakerOpensAndThenOneProbeGoesThrough(t *testing.T) {
	t.Parallel()
	const failures, delay, jobs = 3, 2 * time.Second, 12
	env := newEnv(t)
	var available atomic.Bool
	env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
		if !available.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	env.run(map[string]string{
		"ANALYSIS_BREAKER_FAILURES": fmt.Sprint(failures), "ANALYSIS_BREAKER_DELAY": delay.String(), "ANALYSIS_CONCURRENCY": "1", "LOG_LEVEL": "info",
	})
	var all []string
	for range jobs {
		all = append(all, env.store().JobID)
	}
	testkit.Eventually(t, func() error {
		if n := len(env.analyzer.all()); n < failures+2 { // wait until two probes have failed after the breaker opened
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
	if value := env.metric(isOpen); value != "1" {
		t.Errorf("the metric is %q", value)
	}
	available.Store(true)
	env.Settled(consumer)
	got := env.analyzer.all()
	for i := failures; i < len(got)-jobs+1; i++ { // these requests are the probes; the last one succeeded and closed the breaker
		if pause := got[i].at.Sub(got[i-1].at); pause < delay-slack {
			t.Errorf("request %d came %v after the one before", i, pause)
		}
	}
	for _, job := range all {
		if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameDispatched {
			t.Errorf("log %v", names)
		}
		for _, w := range env.waitingEvents(job) {
			if w.Attempt != 1 || w.Code != "analysis-resting" && w.Code != "analysis-unavailable" {
				t.Errorf("published %+v", w)
			}
		}
		if n := env.count(event.SubjectOf(job, event.NameAttempted)); n != 1 {
			t.Errorf("attempted %d times", n)
		}
	}
	if value := env.metric(isOpen); value != "0" {
		t.Errorf("in the end the metric is %q", value)
	}
	warnings := strings.Count(env.Logged(), `"level":"warn"`)
	if opened := strings.Count(env.Logged(), "circuit breaker opened"); opened < 3 || warnings > opened+failures || strings.Count(env.Logged(), "circuit breaker closed") != 1 {
		t.Errorf("%d warnings, opened %d times", warnings, opened)
	}
}

func TestARetryAfterDelaysAllJobs(t *testing.T) {
	t.Parallel()
	const delay, jobs = 5 * time.Second, 20
	env := newEnv(t)
	var until atomic.Int64
	env.analyzer.answer = func(w http.ResponseWriter, a request, _ int) {
		if until.CompareAndSwap(0, a.at.Add(delay).UnixNano()) {
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	var others []event.Stored
	for range jobs {
		others = append(others, env.recording())
	}
	env.run(nil)
	first := env.store().JobID
	w := env.waiting(first)
	if over := time.Unix(0, until.Load()); w.Until.Before(over.Add(-slack)) || w.Until.After(over.Add(delay)) || w.Code != "analysis-unavailable" || w.Until.Location() != time.UTC {
		t.Errorf("published %+v, the delay ends at %v", w, over)
	}
	all := []string{first}
	for _, s := range others {
		env.append(s)
		all = append(all, s.JobID)
	}
	for _, job := range all {
		testkit.Await[event.Dispatched](env.Kit, env.bus, job)
	}
	got := env.analyzer.all()
	for _, a := range got[1:] {
		if early := time.Unix(0, until.Load()).Sub(a.at); early > slack {
			t.Errorf("sent %v before the delay was over", early)
		}
	}
	if len(got) != len(all)+1 {
		t.Errorf("%d jobs, %d requests", len(all), len(got))
	}
	waiting := 0
	for _, job := range all[1:] {
		waiting += len(env.waitingEvents(job))
	}
	if waiting == 0 {
		t.Error("no other job has a waiting event")
	}
}

func TestAWaitEndsAtItsPublishedTime(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.answer = func(w http.ResponseWriter, _ request, n int) {
		if n < 5 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}
	env.run(map[string]string{"ANALYSIS_BREAKER_FAILURES": "100"})
	job := env.store().JobID
	testkit.Await[event.Dispatched](env.Kit, env.bus, job)
	got, waits := env.analyzer.requestsOf(job), env.waitingEvents(job)
	// Each published time must be followed by a request within 3 s. Waiting events with a time in
	// the same second are deduplicated, so there may be fewer events than requests.
	for _, w := range waits {
		if !slices.ContainsFunc(got[1:], func(a request) bool { return a.at.Sub(w.Until) > -slack && a.at.Sub(w.Until) < 3*time.Second }) {
			t.Errorf("published %v, requests %+v", w.Until, got)
		}
	}
	if len(got) != 5 || len(waits) < 2 || env.count(event.SubjectOf(job, event.NameDispatched)) != 1 {
		t.Errorf("%d requests, published %+v", len(got), waits)
	}
}

func TestRetriesAndNextAttemptsWaitToo(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	failed, _ := env.failed()
	late, _ := env.dispatched()
	var refused atomic.Int64
	env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
		if refused.Add(1) == 1 {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}
	env.append(event.Retried{JobID: failed, Attempt: 2})
	if w := env.waiting(failed); w.Attempt != 2 {
		t.Errorf("%+v", w)
	}
	env.lapse(late, 1)
	if w := env.waiting(late); w.Attempt != 2 || w.Code != "analysis-resting" {
		t.Errorf("%+v", w)
	}
	env.attempt(failed, 2)
	env.attempt(late, 2)
}

func TestRejectionsDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusBadRequest)
	}
	env.run(map[string]string{"ANALYSIS_BREAKER_FAILURES": "1"})
	for range 5 {
		job := env.store().JobID
		testkit.Await[event.Failed](env.Kit, env.bus, job)
		if waits := env.waitingEvents(job); len(waits) != 0 {
			t.Errorf("published %+v", waits)
		}
	}
	if value := env.metric(isOpen); value != "0" {
		t.Errorf("the metric is %q", value)
	}
}

func TestPollsDoNotOpenTheBreakerAndPassWhileItIsOpen(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.status = func(n int) string {
		if n < 3 {
			return ""
		}
		return `{"status":"completed","result":{}}`
	}
	url := env.analyzer.URL + "/status/{job_id}"
	env.run(map[string]string{"ANALYSIS_STATUS_URL": url, "ANALYSIS_BREAKER_FAILURES": "1"})
	env.statusSeen(url)
	for range 2 {
		job, _ := env.dispatched()
		env.lapse(job, 1)
		env.attempt(job, 2)
	}
	job, _ := env.dispatched()
	env.busyFor("3600")
	env.waiting(env.store().JobID)
	env.lapse(job, 1)
	testkit.Await[event.Completed](env.Kit, env.bus, job)
}

func TestEachOfTwoReplicasOpensItsBreaker(t *testing.T) {
	t.Parallel()
	const delay, jobs = 3 * time.Second, 30
	env := newEnv(t)
	var until atomic.Int64
	env.analyzer.answer = func(w http.ResponseWriter, a request, _ int) {
		until.CompareAndSwap(0, a.at.Add(delay).UnixNano())
		if a.at.UnixNano() < until.Load() {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	one := map[string]string{"ANALYSIS_CONCURRENCY": "1"}
	env.run(one)
	env.run(one)
	var all []string
	for range jobs {
		all = append(all, env.store().JobID)
	}
	for _, job := range all {
		testkit.Await[event.Dispatched](env.Kit, env.bus, job)
	}
	if refused := len(env.analyzer.all()) - jobs; refused < 1 || refused > 2 { // one from each replica, or only from one
		t.Errorf("refused %d times", refused)
	}
}

func TestTheWaitsOfAReplicaThatStopsPassToTheOthers(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	var available atomic.Bool
	env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
		if !available.Load() {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	i := env.run(nil)
	job := env.store().JobID
	w := env.waiting(job)
	must(t, i.Stop())
	available.Store(true)
	env.run(nil)
	testkit.Await[event.Dispatched](env.Kit, env.bus, job)
	if got := env.analyzer.requestsOf(job); got[len(got)-1].at.Before(w.Until.Add(-slack)) {
		t.Errorf("published %v, requested at %v", w.Until, got[len(got)-1].at)
	}
}

func TestNothingIsRequestedForAJobThatEndsWhileItWaits(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.busyFor("1")
	env.run(nil)
	job := env.store().JobID
	env.waiting(job)
	env.append(event.Canceled{JobID: job})
	env.Settled(consumer)
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameCanceled || len(env.analyzer.requestsOf(job)) > 2 {
		t.Errorf("log %v, %d requests", names, len(env.analyzer.requestsOf(job)))
	}
}

func TestAReplayPublishesNoWaiting(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.busyFor("3600")
	env.run(nil)
	job := env.store().JobID
	env.waiting(job)
	log, err := env.jobs.Read(env.Context(), job)
	must(t, err)
	for range 3 {
		if err := env.bus.Replay(env.Context(), app.Name+"-stored", log[1].Seq); err == nil {
			t.Error("the replay sent a request")
		}
	}
	if waits := env.waitingEvents(job); len(waits) != 1 {
		t.Errorf("published %+v", waits)
	}
}
