package app_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

const retries = "dispatcher-retried"

// failed brings a new job to the analysis server, which lets it fail, and returns
// the callback URL of its first attempt.
func (r *rig) failed() (job, callback string) {
	r.t.Helper()
	job, callback = r.dispatched()
	if got := r.call(callback, `{"status":"failed","error":"no speech"}`); got.code != http.StatusOK {
		r.t.Fatalf("%+v", got)
	}
	return job, callback
}

// attempt waits until the analysis server accepted an attempt, and returns its request.
func (r *rig) attempt(job string, n int) asked {
	r.t.Helper()
	testkit.Eventually(r.t, func() error {
		if d := testkit.Await[event.Dispatched](r.Kit, r.bus, job); d.Attempt != n {
			return errAttempt(d.Attempt)
		}
		return nil
	})
	requests := r.analyzer.of(job)
	return requests[len(requests)-1]
}

type errAttempt int

func (e errAttempt) Error() string { return "another attempt is the newest" }

func TestARetriedJobIsAskedForAsItsNextAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	job, first := r.failed()
	r.append(event.Retried{JobID: job, Attempt: 2})
	second := r.attempt(job, 2)
	if second.header.Get("Idempotency-Key") != job+".2" || fetch(t, second.field("s3_audio_url")) != content {
		t.Errorf("asked with %v %s", second.header, second.body)
	}
	for name, body := range map[string]string{"a result": `{"analysis_results":{"of":1}}`, "a failure": `{"status":"failed","error":"late"}`} {
		if got := r.call(first, body); got.code != http.StatusOK || got.body["message"] != nil {
			t.Errorf("%s of the first attempt: %+v", name, got)
		}
	}
	if got := r.call(second.field("webhook_url"), `{"analysis_results":{"of":2}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if c := testkit.Await[event.Completed](r.Kit, r.bus, job); c.Attempt != 2 || string(c.Result) != `{"of":2}` {
		t.Errorf("%+v", c)
	}
}

func TestAnAttemptThatARetryReplacedChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	job, first := r.failed()
	r.append(event.Retried{JobID: job, Attempt: 2})
	r.attempt(job, 2)
	before := r.Story(r.bus, job)
	for _, body := range []string{`{"analysis_results":{}}`, `{"status":"failed"}`, `{"status":"processing","progress":50}`} {
		if got := r.call(first, body); got.code != http.StatusOK {
			t.Errorf("%s: %+v", body, got)
		}
	}
	if after := r.Story(r.bus, job); !slices.Equal(after, before) {
		t.Errorf("story %v became %v", before, after)
	}
}

func TestARetriedJobMayFailAgainAndAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) { w.WriteHeader(http.StatusBadRequest) }
	r.run(nil)
	s := r.store()
	for attempt := 1; attempt <= 3; attempt++ {
		testkit.Eventually(t, func() error {
			if f := testkit.Await[event.Failed](r.Kit, r.bus, s.JobID); f.Attempt != attempt {
				return errAttempt(f.Attempt)
			}
			return nil
		})
		if attempt < 3 {
			r.append(event.Retried{JobID: s.JobID, Attempt: attempt + 1})
		}
	}
	if n := len(r.analyzer.of(s.JobID)); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

func TestAReplayOfRetriesAsksNobodyAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	r.run(nil)
	job, _ := r.failed()
	r.append(event.Retried{JobID: job, Attempt: 2})
	r.attempt(job, 2)
	r.append(event.Failed{JobID: job, Attempt: 2})
	r.append(event.Retried{JobID: job, Attempt: 3})
	r.attempt(job, 3)
	r.Settled(consumer)
	r.Settled(retries)
	letters := len(r.Letters(event.Jobs()))
	for _, name := range []string{consumer, retries} {
		must(t, r.JetStream().DeleteConsumer(r.Context(), r.Namespace().Stream(event.Jobs().Name), name))
	}
	r.Settled(consumer)
	r.Settled(retries)
	if n := len(r.analyzer.of(job)); n != 3 {
		t.Errorf("asked %d times", n)
	}
	if now := len(r.Letters(event.Jobs())); now != letters {
		t.Errorf("%d messages became %d", letters, now)
	}
}

func TestARetryOfWhatWasNeverStoredFailsItAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.NewJob()
	r.append(event.Received{JobID: job})
	r.append(event.Failed{JobID: job})
	r.append(event.Retried{JobID: job, Attempt: 1})
	r.run(nil)
	testkit.Eventually(t, func() error {
		if f := testkit.Await[event.Failed](r.Kit, r.bus, job); f.Code != "recording-unknown" {
			return errAttempt(f.Attempt)
		}
		return nil
	})
}

// The answer to the first attempt's request comes when a retry has begun the
// second: neither an acceptance nor a refusal of the first may count any more.
func TestAnAnswerThatComesAfterARetryChangesNothing(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"accepted": http.StatusOK, "refused": http.StatusBadRequest} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			reached, release := make(chan struct{}), make(chan struct{})
			free := sync.OnceFunc(func() { close(release) })
			t.Cleanup(free)
			r.analyzer.answer = func(w http.ResponseWriter, _ asked, n int) {
				if n == 1 {
					close(reached)
					<-release
					w.WriteHeader(status)
				}
			}
			r.run(nil)
			s := r.store()
			<-reached
			r.append(event.Failed{JobID: s.JobID, Attempt: 1, Code: "x"})
			r.append(event.Retried{JobID: s.JobID, Attempt: 2})
			second := r.attempt(s.JobID, 2)
			free()
			r.Settled(consumer)
			if story := r.Story(r.bus, s.JobID); story[len(story)-1] != event.NameDispatched {
				t.Errorf("story %v", story)
			}
			if got := r.call(second.field("webhook_url"), `{"analysis_results":{}}`); got.code != http.StatusOK || got.body["message"] != nil {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestACanceledJobsResultIsDiscarded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	job, hook := r.dispatched()
	r.append(event.Canceled{JobID: job})
	if got := r.call(hook, `{"analysis_results":{}}`); got.code != http.StatusOK || got.body["message"] == nil {
		t.Errorf("%+v", got)
	}
	if story := r.Story(r.bus, job); story[len(story)-1] != event.NameCanceled {
		t.Errorf("story %v", story)
	}
}
