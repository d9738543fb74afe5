package command_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/command"
	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

const second = time.Second

func TestAJobThatIsNotDispatchedInTimeFails(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	received := e.received()
	e.record(received)
	other := e.received()
	waiting := e.record(other, storedFor(other.JobID, 5), event.Attempted{JobID: other.JobID, Attempt: 1})
	e.sweep(time.Hour - 10*second)
	e.wantStatus(received.JobID, job.Processing, "")
	e.wantStatus(waiting, job.Processing, "")
	e.sweep(time.Hour)
	e.wantStatus(received.JobID, job.Failed, "dispatch-timeout")
	e.wantStatus(waiting, job.Failed, "dispatch-timeout")
	for id, want := range map[string]event.Failed{
		received.JobID: {Attempt: 0, Retryable: false}, // not retryable, since the recording was never stored
		waiting:        {Attempt: 1, Retryable: true},
	} {
		if f := testkit.Await[event.Failed](e.Kit, e.bus, id); f.Attempt != want.Attempt || f.Retryable != want.Retryable || f.Detail == "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestAJobThatWaitsForTheAnalysisOfAnotherOneDoesNotFail(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	follower, queued := e.received(), e.received()
	e.record(follower, storedFor(follower.JobID, 5))
	e.record(queued, storedFor(queued.JobID, 5))
	must(t, e.bus.Publish(e.Context(), event.Waiting{JobID: follower.JobID, Attempt: 1, Since: time.Now(), Code: event.CodeSameRecording}))
	must(t, e.bus.Publish(e.Context(), event.Waiting{JobID: queued.JobID, Attempt: 1, Since: time.Now(), Code: "analysis-full"}))
	sweeper := command.NewSweeper(e.decider, e.rows, e.jobs, command.SweeperOptions{
		Deadlines: command.Deadlines{Dispatch: second, Factor: 10, Min: second, Max: second}, Interval: time.Hour, Log: zerolog.Nop(),
	})
	must(t, sweeper.Sweep(e.Context(), time.Now().Add(10*time.Minute)))
	e.wantStatus(follower.JobID, job.Processing, "")
	e.wantStatus(queued.JobID, job.Failed, "dispatch-timeout")
	must(t, sweeper.Sweep(e.Context(), time.Now().Add(31*time.Minute)))
	e.wantStatus(follower.JobID, job.Failed, "dispatch-timeout")
}

func TestTheDeadlineOfAnAnalysisFollowsFromTheDurationOfItsAudio(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for seconds, allowed := range map[float64]time.Duration{
		1: 10 * time.Minute, 60: 10 * time.Minute, 180: 30 * time.Minute, 719: 7190 * second, 100_000: 2 * time.Hour, 1e300: 2 * time.Hour, 0: 2 * time.Hour,
	} {
		id := e.dispatched(seconds)
		e.sweep(allowed - 10*second)
		e.wantLast(id, event.NameDispatched)
		e.sweep(allowed)
		e.wantLast(id, event.NameLapsed)
		e.wantStatus(id, job.Processing, "")
		if l := testkit.Await[event.Lapsed](e.Kit, e.bus, id); l.Attempt != 1 {
			t.Errorf("%v s: %+v", seconds, l)
		}
	}
}

func TestALapsedAttemptWithoutANextOneFailsItsJob(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dispatched(1)
	e.sweep(10 * time.Minute)
	e.sweep(time.Hour - 10*second)
	e.wantLast(id, event.NameLapsed)
	e.sweep(time.Hour)
	e.wantStatus(id, job.Failed, "analysis-timeout")
	if f := testkit.Await[event.Failed](e.Kit, e.bus, id); f.Attempt != 1 || !f.Retryable {
		t.Errorf("%+v", f)
	}
}

func TestAnEndedJobHasNoDeadline(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, ending := range []func(string) event.Event{
		func(id string) event.Event { return event.Canceled{JobID: id} },
		func(id string) event.Event { return event.Failed{JobID: id, Attempt: 1, Code: "x"} },
		func(id string) event.Event {
			return event.Completed{JobID: id, Attempt: 1, Result: []byte(`{}`)}
		},
	} {
		id := e.dispatched(1)
		e.record(ending(id))
		before := e.EventNames(e.bus, id)
		e.sweep(1000 * time.Hour)
		if after := e.EventNames(e.bus, id); !slices.Equal(after, before) {
			t.Errorf("story %v became %v", before, after)
		}
	}
}

func TestARetryAndAFurtherAttemptHaveDeadlinesOfTheirOwn(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dispatched(1)
	e.sweep(10 * time.Minute)
	e.record(event.Attempted{JobID: id, Attempt: 2})
	e.sweep(time.Hour - 10*second)
	e.wantLast(id, event.NameAttempted)
	e.record(event.Dispatched{JobID: id, Attempt: 2})
	e.sweep(10*time.Minute - 10*second)
	e.wantLast(id, event.NameDispatched)
	e.sweep(10 * time.Minute)
	e.wantLast(id, event.NameLapsed)
	e.record(event.Failed{JobID: id, Attempt: 2, Code: "analysis-timeout"})
	e.record(event.Retried{JobID: id, Attempt: 3})
	e.sweep(time.Hour - 10*second)
	e.wantStatus(id, job.Processing, "")
	e.sweep(time.Hour)
	e.wantStatus(id, job.Failed, "dispatch-timeout")
	if f := testkit.Await[event.Failed](e.Kit, e.bus, id); f.Attempt != 3 {
		t.Errorf("%+v", f)
	}
	e.record(event.Retried{JobID: id, Attempt: 4}, event.Attempted{JobID: id, Attempt: 4}, event.Dispatched{JobID: id, Attempt: 4})
	e.sweep(10 * time.Minute)
	e.wantLast(id, event.NameLapsed)
}

// The record may lag behind the log. A job that is overdue by its record, but not by its log, must
// not fail.
func TestTheLogDecidesIfTheRecordIsBehind(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	completed, dispatched := e.received(), e.received()
	for _, r := range []event.Received{completed, dispatched} {
		e.record(r)
		e.append(storedFor(r.JobID, 600))
		e.append(event.Attempted{JobID: r.JobID, Attempt: 1})
	}
	e.append(event.Completed{JobID: completed.JobID, Attempt: 1, Result: []byte(`{"a":1}`)})
	e.append(event.Dispatched{JobID: dispatched.JobID, Attempt: 1})
	e.sweep(time.Hour)
	e.wantStatus(completed.JobID, job.Completed, "")
	e.wantStatus(dispatched.JobID, job.Processing, "")
	if s, _, err := e.rows.Find(e.Context(), dispatched.JobID); err != nil || s.Progress != 90 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestAJobWhoseLogIsLostFailsAtItsDeadline(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.dispatched(1)
	stream, err := e.JetStream().Stream(e.Context(), e.Namespace().Stream(event.Jobs().Name))
	must(t, err)
	must(t, stream.Purge(e.Context()))
	e.sweep(time.Hour)
	e.wantStatus(id, job.Failed, "log-lost")
	if story := e.EventNames(e.bus, id); len(story) != 0 {
		t.Errorf("story %v", story)
	}
}

func TestAJobThatCannotBeEndedDoesNotDelayTheOthers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ids := []string{e.dispatched(1), e.dispatched(1), e.dispatched(1)}
	s := e.sweeper(command.NewDecider(brokenLog{e.jobs, ids[0]}, e.projector))
	if err := s.Sweep(e.Context(), time.Now().Add(10*time.Minute)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	e.wantLast(ids[0], event.NameDispatched)
	e.wantLast(ids[1], event.NameLapsed)
	e.wantLast(ids[2], event.NameLapsed)
	e.sweep(10 * time.Minute)
	e.wantLast(ids[0], event.NameLapsed)
}

func TestConcurrentSweepsAndACompletionAppendOneTerminalEvent(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for range 10 {
		id := e.record(event.Lapsed{JobID: e.dispatched(1), Attempt: 1})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				s := e.sweeper(e.decider)
				if err := s.Sweep(e.Context(), time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			_, err := e.jobs.Update(e.Context(), id, nil, func(log event.Log) (event.Event, error) {
				if _, ended := log.Terminal(); ended {
					return nil, nil
				}
				return event.Completed{JobID: id, Attempt: 1, Result: []byte(`{}`)}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if story := e.EventNames(e.bus, id); len(story) != 6 || !story[5].Terminal() {
			t.Errorf("story %v", story)
		}
	}
}
