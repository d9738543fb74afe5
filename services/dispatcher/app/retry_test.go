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

// failed makes the analysis server fail a new job. It returns the job and the callback URL of its
// first attempt.
func (env *env) failed() (job, callback string) {
	env.t.Helper()
	job, callback = env.dispatched()
	if got := env.call(callback, `{"status":"failed","error":"no speech"}`); got.code != http.StatusOK {
		env.t.Fatalf("%+v", got)
	}
	return job, callback
}

// attempt waits until the analysis server has accepted an attempt, and returns its request.
func (env *env) attempt(job string, n int) request {
	env.t.Helper()
	testkit.Eventually(env.t, func() error {
		if d := testkit.Await[event.Dispatched](env.Kit, env.bus, job); d.Attempt != n {
			return errAttempt(d.Attempt)
		}
		return nil
	})
	requests := env.analyzer.requestsOf(job)
	return requests[len(requests)-1]
}

type errAttempt int

func (e errAttempt) Error() string { return "another attempt is the newest" }

func TestARetryIsTheNextAttempt(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, first := env.failed()
	env.append(event.Retried{JobID: job, Attempt: 2})
	second := env.attempt(job, 2)
	if second.header.Get("Idempotency-Key") != job+".2" || fetch(t, second.field("s3_audio_url")) != content {
		t.Errorf("requested with %v %s", second.header, second.body)
	}
	for name, body := range map[string]string{"a result": `{"analysis_results":{"of":1}}`, "a failure": `{"status":"failed","error":"late"}`} {
		if got := env.call(first, body); got.code != http.StatusOK || got.body["message"] != nil {
			t.Errorf("%s of the first attempt: %+v", name, got)
		}
	}
	if got := env.call(second.field("webhook_url"), `{"analysis_results":{"of":2}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if c := testkit.Await[event.Completed](env.Kit, env.bus, job); c.Attempt != 2 || string(c.Result) != `{"of":2}` {
		t.Errorf("%+v", c)
	}
}

func TestAnAttemptThatARetryReplacedChangesNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, first := env.failed()
	env.append(event.Retried{JobID: job, Attempt: 2})
	env.attempt(job, 2)
	before := env.EventNames(env.bus, job)
	for _, body := range []string{`{"analysis_results":{}}`, `{"status":"failed"}`, `{"status":"processing","progress":50}`} {
		if got := env.call(first, body); got.code != http.StatusOK {
			t.Errorf("%s: %+v", body, got)
		}
	}
	if after := env.EventNames(env.bus, job); !slices.Equal(after, before) {
		t.Errorf("log %v became %v", before, after)
	}
}

func TestARetriedJobMayFailAgainAndAgain(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) { w.WriteHeader(http.StatusBadRequest) }
	env.run(nil)
	s := env.store()
	for attempt := 1; attempt <= 3; attempt++ {
		testkit.Eventually(t, func() error {
			if f := testkit.Await[event.Failed](env.Kit, env.bus, s.JobID); f.Attempt != attempt {
				return errAttempt(f.Attempt)
			}
			return nil
		})
		if attempt < 3 {
			env.append(event.Retried{JobID: s.JobID, Attempt: attempt + 1})
		}
	}
	if n := len(env.analyzer.requestsOf(s.JobID)); n != 3 {
		t.Errorf("%d requests", n)
	}
}

func TestHandlingRetriedAgainSendsNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	env.run(nil)
	job, _ := env.failed()
	env.append(event.Retried{JobID: job, Attempt: 2})
	env.attempt(job, 2)
	env.append(event.Failed{JobID: job, Attempt: 2})
	env.append(event.Retried{JobID: job, Attempt: 3})
	env.attempt(job, 3)
	env.Settled(consumer)
	env.Settled(retries)
	env.handleAgain(consumer, retries)
	if n := len(env.analyzer.requestsOf(job)); n != 3 {
		t.Errorf("%d requests", n)
	}
}

func TestARetryOfAJobThatWasNeverStoredFailsAgain(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	job := env.NewJob()
	env.append(event.Received{JobID: job})
	env.append(event.Failed{JobID: job})
	env.append(event.Retried{JobID: job, Attempt: 1})
	env.run(nil)
	testkit.Eventually(t, func() error {
		if f := testkit.Await[event.Failed](env.Kit, env.bus, job); f.Code != "recording-unknown" {
			return errAttempt(f.Attempt)
		}
		return nil
	})
}

// The answer to the first attempt's request arrives after a retry has begun the second attempt:
// neither an acceptance nor a rejection of the first attempt may have an effect then.
func TestAnAnswerThatComesAfterARetryChangesNothing(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"accepted": http.StatusOK, "refused": http.StatusBadRequest} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			reached, release := make(chan struct{}), make(chan struct{})
			free := sync.OnceFunc(func() { close(release) })
			t.Cleanup(free)
			env.analyzer.answer = func(w http.ResponseWriter, _ request, n int) {
				if n == 1 {
					close(reached)
					<-release
					w.WriteHeader(status)
				}
			}
			env.run(nil)
			s := env.store()
			<-reached
			env.append(event.Failed{JobID: s.JobID, Attempt: 1, Code: "x"})
			env.append(event.Retried{JobID: s.JobID, Attempt: 2})
			second := env.attempt(s.JobID, 2)
			free()
			env.Settled(consumer)
			if names := env.EventNames(env.bus, s.JobID); names[len(names)-1] != event.NameDispatched {
				t.Errorf("log %v", names)
			}
			if got := env.call(second.field("webhook_url"), `{"analysis_results":{}}`); got.code != http.StatusOK || got.body["message"] != nil {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestACanceledJobsResultIsDiscarded(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, hook := env.dispatched()
	env.append(event.Canceled{JobID: job})
	if got := env.call(hook, `{"analysis_results":{}}`); got.code != http.StatusOK || got.body["message"] == nil {
		t.Errorf("%+v", got)
	}
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameCanceled {
		t.Errorf("log %v", names)
	}
}

// The recording of a failed job is missing. A retry must not send an attempt until the uploader has
// fetched and stored the recording.
func TestARetryWithoutARecordingWaitsUntilItIsStored(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	stored := env.recording()
	job := stored.JobID
	env.append(event.Failed{JobID: job, Code: "fetch-failed", Retryable: true})
	env.append(event.Retried{JobID: job, Attempt: 1, Fetch: true})
	env.Settled(retries)
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameRetried || len(env.analyzer.requestsOf(job)) > 0 {
		t.Fatalf("log %v", names)
	}
	stored.Attempt = 1
	env.append(stored)
	env.attempt(job, 1)
	env.HandleAgain("dispatcher-stored")
	if n := len(env.analyzer.requestsOf(job)); n != 1 {
		t.Errorf("%d requests", n)
	}
}
