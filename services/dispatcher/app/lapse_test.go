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

// lapse lets the newest attempt of a job lapse, as the tracker says it.
func (r *rig) lapse(job string, attempt int) {
	r.t.Helper()
	r.append(event.Lapsed{JobID: job, Attempt: attempt})
}

func TestAnAttemptThatLapsesIsFollowedByTheNextUntilTheLast(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	job, first := r.dispatched()
	for attempt := 1; attempt < 3; attempt++ {
		r.lapse(job, attempt)
		if got := r.attempt(job, attempt+1); got.header.Get("Idempotency-Key") != fmt.Sprintf("%s.%d", job, attempt+1) {
			t.Errorf("asked with %v", got.header)
		}
	}
	if got := r.call(first, `{"analysis_results":{"of":1}}`); got.code != http.StatusOK { // late, of an old attempt
		t.Errorf("%+v", got)
	}
	r.lapse(job, 3)
	if f := testkit.Await[event.Failed](r.Kit, r.bus, job); f.Code != "analysis-timeout" || f.Attempt != 3 || !f.Retryable {
		t.Errorf("%+v", f)
	}
	r.Settled(lapses)
	if n := len(r.analyzer.of(job)); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

func TestARetryCountsAttemptsAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(map[string]string{"ANALYSIS_MAX_ATTEMPTS": "2"})
	job, _ := r.dispatched()
	r.lapse(job, 1)
	r.attempt(job, 2)
	r.lapse(job, 2)
	testkit.Await[event.Failed](r.Kit, r.bus, job)
	r.append(event.Retried{JobID: job, Attempt: 3})
	r.attempt(job, 3)
	r.lapse(job, 3)
	r.attempt(job, 4)
	r.lapse(job, 4)
	testkit.Eventually(t, func() error {
		if f := testkit.Await[event.Failed](r.Kit, r.bus, job); f.Attempt != 4 || f.Code != "analysis-timeout" {
			return errAttempt(f.Attempt)
		}
		return nil
	})
}

func TestALateResultOfALapsedAttemptCountsWhileItIsTheNewest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.run(nil)
	job, hook := r.dispatched()
	must(t, i.Stop())
	r.lapse(job, 1)
	r.analyzer.status = func(int) string { return `{"status":"processing"}` } // so that no next attempt begins
	r.run(map[string]string{"TARGET_SERVER_URL": "http://127.0.0.1:1", "ANALYSIS_STATUS_URL": r.analyzer.URL + "/status/{job_id}"})
	if got := r.call(hook, `{"analysis_results":{}}`); got.code != http.StatusOK || got.body["message"] != nil {
		t.Errorf("%+v", got)
	}
	testkit.Await[event.Completed](r.Kit, r.bus, job)
}

func TestAServerThatTellsHowItStandsIsAskedFirst(t *testing.T) {
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
		"forgotten":                {``, event.Dispatched{}},
		"no JSON":                  {`<html>`, event.Dispatched{}},
		"more than may be fetched": {`{"status":"completed","result":"` + strings.Repeat("x", 70_000) + `"}`, event.Dispatched{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) { _, _ = w.Write([]byte(`{"job_id":"a/1 &?"}`)) }
			r.analyzer.status = func(int) string { return c.answer }
			r.run(map[string]string{"ANALYSIS_STATUS_URL": r.analyzer.URL + "/status/{analysis_job_id}?for={job_id}", "MAX_WEBHOOK_BYTES": "60000"})
			job, _ := r.dispatched()
			r.lapse(job, 1)
			switch want := c.want.(type) {
			case event.Completed:
				if got := testkit.Await[event.Completed](r.Kit, r.bus, job); string(got.Result) != string(want.Result) || got.Attempt != 1 {
					t.Errorf("%+v", got)
				}
			case event.Failed:
				if got := testkit.Await[event.Failed](r.Kit, r.bus, job); got.Code != want.Code || got.Detail != want.Detail || got.Attempt != 1 {
					t.Errorf("%+v", got)
				}
			default:
				r.attempt(job, 2)
			}
			if polls := r.analyzer.polls(); len(polls) != 1 || polls[0] != "/status/a%2F1%20%26%3F?for="+job {
				t.Errorf("polled %v", polls)
			}
		})
	}
}

func TestAnAnalysisThatGoesOnIsWaitedForWithoutANextAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var lapsed atomic.Bool
	r.analyzer.status = func(n int) string {
		if n < 3 || !lapsed.Load() {
			return `{"status":"processing","progress":80}`
		}
		return `{"status":"completed","result":{}}`
	}
	r.run(map[string]string{"ANALYSIS_STATUS_URL": r.analyzer.URL + "/status/{job_id}", "ANALYSIS_POLL_INTERVAL": "10ms"})
	job, _ := r.dispatched()
	r.lapse(job, 1)
	lapsed.Store(true)
	testkit.Await[event.Completed](r.Kit, r.bus, job)
	if n := len(r.analyzer.of(job)); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestAServerWithoutAnIDOfItsOwnIsNotPolledByIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.analyzer.status = func(int) string { return `{"status":"processing"}` }
	r.run(map[string]string{"ANALYSIS_STATUS_URL": r.analyzer.URL + "/status/{analysis_job_id}"})
	job, _ := r.dispatched()
	r.lapse(job, 1)
	r.attempt(job, 2)
	if polls := r.analyzer.polls(); len(polls) != 0 {
		t.Errorf("polled %v", polls)
	}
}

func TestAReplayOfLapsesAsksNobodyAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	r.run(nil)
	running, _ := r.dispatched()
	r.lapse(running, 1)
	r.attempt(running, 2)
	done, _ := r.dispatched()
	r.lapse(done, 1)
	got := r.attempt(done, 2)
	r.call(got.field("webhook_url"), `{"analysis_results":{}}`)
	testkit.Await[event.Completed](r.Kit, r.bus, done)
	r.Settled(lapses)
	letters := len(r.Letters(event.Jobs()))
	for _, name := range []string{consumer, lapses} {
		must(t, r.JetStream().DeleteConsumer(r.Context(), r.Namespace().Stream(event.Jobs().Name), name))
	}
	r.Settled(consumer)
	r.Settled(lapses)
	if n := len(r.analyzer.of(running)) + len(r.analyzer.of(done)); n != 4 {
		t.Errorf("asked %d times", n)
	}
	if now := len(r.Letters(event.Jobs())); now != letters {
		t.Errorf("%d messages became %d", letters, now)
	}
}

func TestANextAttemptThatACrashInterruptedIsFinished(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.run(nil)
	job, _ := r.dispatched()
	must(t, i.Stop())
	r.lapse(job, 1)
	r.append(event.Attempted{JobID: job, Attempt: 2}) // then it crashed
	r.run(nil)
	r.attempt(job, 2)
	r.Settled(lapses)
	want := []event.Name{event.NameReceived, event.NameStored, event.NameLapsed, event.NameAttempted, event.NameDispatched}
	if story := r.Story(r.bus, job); !slices.Equal(story, want) {
		t.Errorf("story %v", story)
	}
}

func TestAJobThatEndedWhileItLapsedIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.run(nil)
	job, _ := r.dispatched()
	must(t, i.Stop())
	r.lapse(job, 1)
	r.append(event.Canceled{JobID: job})
	r.run(nil)
	r.Settled(lapses)
	if story := r.Story(r.bus, job); story[len(story)-1] != event.NameCanceled || len(r.analyzer.of(job)) != 1 {
		t.Errorf("story %v, asked %d times", story, len(r.analyzer.of(job)))
	}
}
