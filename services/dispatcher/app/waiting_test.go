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

// waits are the waits that a job was told of so far.
func (r *rig) waits(job string) []event.Waiting {
	r.t.Helper()
	var told []event.Waiting
	for _, m := range r.Letters(event.Jobs()) {
		if m.Subject == event.Subject(event.Waiting{JobID: job}) {
			e, err := event.Decode(m.Subject, m.Data)
			must(r.t, err)
			told = append(told, e.(event.Waiting))
		}
	}
	return told
}

// waiting waits until a job was told that it waits.
func (r *rig) waiting(job string) event.Waiting {
	r.t.Helper()
	var last event.Waiting
	testkit.Eventually(r.t, func() error {
		told := r.waits(job)
		if len(told) == 0 {
			return errors.New("no wait is told")
		}
		last = told[len(told)-1]
		return nil
	})
	return last
}

// metric reads a metric of the instance that runs.
func (r *rig) metric(name string) string {
	r.t.Helper()
	for line := range strings.Lines(fetch(r.t, r.url+"/metrics")) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

const isOpen = "sori_analysis_breaker_open"

// slack is by how much clocks and timers may differ.
const slack = 50 * time.Millisecond

func TestAServerThatIsAwayIsLeftAloneAndThenTriedOnce(t *testing.T) {
	t.Parallel()
	const failures, rest, jobs = 3, 2 * time.Second, 12
	r := newRig(t)
	var well atomic.Bool
	r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) {
		if !well.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	r.run(map[string]string{
		"ANALYSIS_BREAKER_FAILURES": fmt.Sprint(failures), "ANALYSIS_BREAKER_DELAY": rest.String(), "ANALYSIS_CONCURRENCY": "1", "LOG_LEVEL": "info",
	})
	var all []string
	for range jobs {
		all = append(all, r.store().JobID)
	}
	testkit.Eventually(t, func() error {
		if n := len(r.analyzer.all()); n < failures+2 { // two trials failed
			return fmt.Errorf("asked %d times", n)
		}
		return nil
	})
	if value := r.metric(isOpen); value != "1" {
		t.Errorf("the metric is %q", value)
	}
	well.Store(true)
	r.Settled(consumer)
	got := r.analyzer.all()
	for i := failures; i < len(got)-jobs+1; i++ { // the trials, the last of which was answered
		if pause := got[i].at.Sub(got[i-1].at); pause < rest-slack {
			t.Errorf("request %d came %v after the one before", i, pause)
		}
	}
	for _, job := range all {
		if story := r.Story(r.bus, job); story[len(story)-1] != event.NameDispatched {
			t.Errorf("story %v", story)
		}
		for _, w := range r.waits(job) {
			if w.Attempt != 1 || w.Code != "analysis-resting" && w.Code != "analysis-unavailable" {
				t.Errorf("told %+v", w)
			}
		}
		if n := r.count(event.SubjectOf(job, event.NameAttempted)); n != 1 {
			t.Errorf("attempted %d times", n)
		}
	}
	if value := r.metric(isOpen); value != "0" {
		t.Errorf("in the end the metric is %q", value)
	}
	warnings := strings.Count(r.Logged(), `"level":"warn"`)
	if opened := strings.Count(r.Logged(), "circuit breaker opened"); opened < 3 || warnings > opened+failures || strings.Count(r.Logged(), "circuit breaker closed") != 1 {
		t.Errorf("%d warnings, opened %d times", warnings, opened)
	}
}

func TestARetryAfterHoldsForAllJobsAtOnce(t *testing.T) {
	t.Parallel()
	const rest, jobs = 5 * time.Second, 20
	r := newRig(t)
	var until atomic.Int64
	r.analyzer.answer = func(w http.ResponseWriter, a asked, _ int) {
		if until.CompareAndSwap(0, a.at.Add(rest).UnixNano()) {
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	var others []event.Stored
	for range jobs {
		others = append(others, r.recording())
	}
	r.run(nil)
	first := r.store().JobID
	w := r.waiting(first)
	if over := time.Unix(0, until.Load()); w.Until.Before(over.Add(-slack)) || w.Until.After(over.Add(rest)) || w.Code != "analysis-unavailable" || w.Until.Location() != time.UTC {
		t.Errorf("told %+v, the rest ends at %v", w, over)
	}
	all := []string{first}
	for _, s := range others {
		r.append(s)
		all = append(all, s.JobID)
	}
	for _, job := range all {
		testkit.Await[event.Dispatched](r.Kit, r.bus, job)
	}
	got := r.analyzer.all()
	for _, a := range got[1:] {
		if early := time.Unix(0, until.Load()).Sub(a.at); early > slack {
			t.Errorf("asked %v before the rest was over", early)
		}
	}
	if len(got) != len(all)+1 {
		t.Errorf("%d jobs, asked %d times", len(all), len(got))
	}
	told := 0
	for _, job := range all[1:] {
		told += len(r.waits(job))
	}
	if told == 0 {
		t.Error("nobody else was told")
	}
}

func TestAWaitEndsWhenItSaid(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.analyzer.answer = func(w http.ResponseWriter, _ asked, n int) {
		if n < 5 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}
	r.run(map[string]string{"ANALYSIS_BREAKER_FAILURES": "100"})
	job := r.store().JobID
	testkit.Await[event.Dispatched](r.Kit, r.bus, job)
	got, told := r.analyzer.of(job), r.waits(job)
	// Waits that end in the same second are one.
	for _, w := range told {
		if !slices.ContainsFunc(got[1:], func(a asked) bool { return a.at.Sub(w.Until) > -slack && a.at.Sub(w.Until) < 3*time.Second }) {
			t.Errorf("told %v, asked at %+v", w.Until, got)
		}
	}
	if len(got) != 5 || len(told) < 2 || r.count(event.SubjectOf(job, event.NameDispatched)) != 1 {
		t.Errorf("asked %d times, told %+v", len(got), told)
	}
}

func TestRetriesAndNextAttemptsWaitToo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	failed, _ := r.failed()
	late, _ := r.dispatched()
	var refused atomic.Int64
	r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) {
		if refused.Add(1) == 1 {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}
	r.append(event.Retried{JobID: failed, Attempt: 2})
	if w := r.waiting(failed); w.Attempt != 2 {
		t.Errorf("%+v", w)
	}
	r.lapse(late, 1)
	if w := r.waiting(late); w.Attempt != 2 || w.Code != "analysis-resting" {
		t.Errorf("%+v", w)
	}
	r.attempt(failed, 2)
	r.attempt(late, 2)
}

func TestRefusalsThatAreFinalDoNotOpenIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusBadRequest)
	}
	r.run(map[string]string{"ANALYSIS_BREAKER_FAILURES": "1"})
	for range 5 {
		job := r.store().JobID
		testkit.Await[event.Failed](r.Kit, r.bus, job)
		if told := r.waits(job); len(told) != 0 {
			t.Errorf("told %+v", told)
		}
	}
	if value := r.metric(isOpen); value != "0" {
		t.Errorf("the metric is %q", value)
	}
}

func TestAStatusThatCannotBeHadOpensNothingAndIsAskedDuringARest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.analyzer.status = func(n int) string {
		if n < 3 {
			return ""
		}
		return `{"status":"completed","result":{}}`
	}
	r.run(map[string]string{"ANALYSIS_STATUS_URL": r.analyzer.URL + "/status/{job_id}", "ANALYSIS_BREAKER_FAILURES": "1"})
	for range 2 {
		job, _ := r.dispatched()
		r.lapse(job, 1)
		r.attempt(job, 2)
	}
	job, _ := r.dispatched()
	r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	r.waiting(r.store().JobID)
	r.lapse(job, 1)
	testkit.Await[event.Completed](r.Kit, r.bus, job)
}

func TestEachOfTwoCopiesLetsARestBe(t *testing.T) {
	t.Parallel()
	const rest, jobs = 3 * time.Second, 30
	r := newRig(t)
	var until atomic.Int64
	r.analyzer.answer = func(w http.ResponseWriter, a asked, _ int) {
		until.CompareAndSwap(0, a.at.Add(rest).UnixNano())
		if a.at.UnixNano() < until.Load() {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	one := map[string]string{"ANALYSIS_CONCURRENCY": "1"}
	r.run(one)
	r.run(one)
	var all []string
	for range jobs {
		all = append(all, r.store().JobID)
	}
	for _, job := range all {
		testkit.Await[event.Dispatched](r.Kit, r.bus, job)
	}
	if refused := len(r.analyzer.all()) - jobs; refused < 1 || refused > 2 { // each learns it once
		t.Errorf("refused %d times", refused)
	}
}

func TestACopyThatStopsLeavesItsWaitsToTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var well atomic.Bool
	r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) {
		if !well.Load() {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	i := r.run(nil)
	job := r.store().JobID
	w := r.waiting(job)
	must(t, i.Stop())
	well.Store(true)
	r.run(nil)
	testkit.Await[event.Dispatched](r.Kit, r.bus, job)
	if got := r.analyzer.of(job); got[len(got)-1].at.Before(w.Until.Add(-slack)) {
		t.Errorf("told %v, asked at %v", w.Until, got[len(got)-1].at)
	}
}

func TestAJobThatEndsWhileItWaitsIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	r.run(nil)
	job := r.store().JobID
	r.waiting(job)
	r.append(event.Canceled{JobID: job})
	r.Settled(consumer)
	if story := r.Story(r.bus, job); story[len(story)-1] != event.NameCanceled || len(r.analyzer.of(job)) > 2 {
		t.Errorf("story %v, asked %d times", story, len(r.analyzer.of(job)))
	}
}

func TestAnOperatorsReplayTellsNoWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	r.run(nil)
	job := r.store().JobID
	r.waiting(job)
	log, err := r.bus.Log(r.Context(), job)
	must(t, err)
	for range 3 {
		if err := r.bus.Replay(r.Context(), app.Name+"-stored", log[1].Seq); err == nil {
			t.Error("the replay reached the server")
		}
	}
	if told := r.waits(job); len(told) != 1 {
		t.Errorf("told %+v", told)
	}
}
