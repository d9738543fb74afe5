package command_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/command"
	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

const month = 30 * 24 * time.Hour

// retention makes a RetentionSweeper. The parameter part is the used fraction of the stream of
// logs.
func (e *env) retention(keep job.Retention, part float64) *command.RetentionSweeper {
	return command.NewRetentionSweeper(e.eraser, e.rows, used(part), command.RetentionOptions{
		Retention: keep, LogMaxAge: 7 * 24 * time.Hour, Interval: time.Hour, Log: zerolog.Nop(),
	})
}

// used returns a LogUsage that always reports the same used fraction of the stream.
func used(part float64) command.LogUsage {
	return func(context.Context) (float64, error) { return part, nil }
}

// completed returns a completed job.
func (e *env) completed() string {
	e.t.Helper()
	r := e.received()
	r.Owner = "alice"
	return e.record(r, storedFor(r.JobID, 2), event.Attempted{JobID: r.JobID, Attempt: 1},
		event.Completed{JobID: r.JobID, Attempt: 1, Result: []byte(`{"a":1}`)})
}

// failed returns a failed job that can be retried.
func (e *env) failed() string {
	e.t.Helper()
	r := e.received()
	return e.record(r, storedFor(r.JobID, 2), event.Failed{JobID: r.JobID, Code: "analysis-timeout", Retryable: true})
}

// expireLog removes the log of a job, as if its events had reached their maximum age.
func (e *env) expireLog(id string) {
	e.t.Helper()
	stream, err := e.JetStream().Stream(e.Context(), e.Namespace().Stream(event.Jobs().Name))
	must(e.t, err)
	must(e.t, stream.Purge(e.Context(), jetstream.WithPurgeSubject(e.Namespace().Subject(event.LogSubject(id)))))
}

func TestEndedJobsAreErasedWhenTheirRetentionIsOver(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	canceled := e.received()
	ended := []string{e.completed(), e.failed(), e.record(canceled, event.Canceled{JobID: canceled.JobID})}
	active := e.dispatched(1)
	keep := job.Retention{Result: month}
	must(t, e.retention(keep, 0).Sweep(e.Context(), time.Now().Add(month-time.Hour)))
	for i, status := range []job.Status{job.Completed, job.Failed, job.Canceled} {
		if s, _, err := e.rows.Find(e.Context(), ended[i]); err != nil || s.Status != status {
			t.Errorf("too early: %s, %v", s.Status, err)
		}
	}
	var replicas sync.WaitGroup
	failures := make([]error, 3)
	for i := range failures {
		replicas.Go(func() { failures[i] = e.retention(keep, 0).Sweep(e.Context(), time.Now().Add(month+time.Hour)) })
	}
	replicas.Wait()
	must(t, errors.Join(failures...))
	for _, id := range ended {
		e.wantStatus(id, job.Erased, "")
		log, err := e.jobs.Read(e.Context(), id)
		must(t, err)
		if erased, ok := event.Last[event.Erased](log); !ok || erased.Reason != event.ReasonRetention || erased.By != "" {
			t.Errorf("%+v", log)
		}
	}
	e.wantStatus(active, job.Processing, "")
	e.wantLast(active, event.NameDispatched)
}

func TestAJobThatWasRetriedIsNotErased(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.failed()
	e.append(event.Retried{JobID: id, Attempt: 2}) // the retry is in the log, but not in the record
	must(t, e.retention(job.Retention{Result: month}, 0).Sweep(e.Context(), time.Now().Add(month+time.Hour)))
	e.wantLast(id, event.NameRetried)
	e.wantStatus(id, job.Processing, "")
}

func TestTheRetentionOfAJobBeginsAtItsLastEnd(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.failed()
	before := time.Now()
	log, err := e.jobs.Read(e.Context(), id)
	must(t, err)
	first := log[len(log)-1].Time
	e.append(event.Retried{JobID: id, Attempt: 2})
	e.append(event.Failed{JobID: id, Attempt: 2, Code: "analysis-timeout", Retryable: true})
	must(t, e.retention(job.Retention{Result: month}, 0).Sweep(e.Context(), first.Add(month)))
	e.wantStatus(id, job.Failed, "analysis-timeout")
	if s, _, err := e.rows.Find(e.Context(), id); err != nil || s.EndedAt.Before(before.Add(-time.Second)) || !s.EndedAt.After(first) {
		t.Errorf("it ended at %s, first at %s, %v", s.EndedAt, first, err)
	}
}

func TestAJobWhoseLogHasExpiredIsErasedUnlessTheLogIsCrowded(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.completed()
	e.expireLog(id)
	after, keep := time.Now().Add(month+time.Hour), job.Retention{Result: month}
	must(t, e.retention(keep, 0.9).Sweep(e.Context(), after))
	e.wantStatus(id, job.Completed, "")
	must(t, e.retention(keep, 0.5).Sweep(e.Context(), after))
	e.wantStatus(id, job.Erased, "")
	log, err := e.jobs.Read(e.Context(), id)
	must(t, err)
	if erased, ok := event.Last[event.Erased](log); !ok || erased.Owner != "alice" {
		t.Errorf("%+v", log)
	}
	if s, _, err := e.rows.Find(e.Context(), id); err != nil || s.Owner != "alice" || !s.EndedAt.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
}

// The event `expired` is newer than the end of its job, and stays in the log for JOBS_MAX_AGE after
// it.
func TestAJobWhoseLogHasOnlyExpiredIsErasedInTime(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.completed()
	e.expireLog(id)
	must(t, e.retention(job.Retention{Audio: time.Nanosecond}, 0).Sweep(e.Context(), time.Now().Add(time.Second)))
	e.wantLast(id, event.NameExpired)
	s, _, err := e.rows.Find(e.Context(), id)
	must(t, err)
	log, err := e.jobs.Read(e.Context(), id)
	must(t, err)
	between := s.EndedAt.Add(log[0].Time.Sub(s.EndedAt) / 2) // after the end of the job, and before the event expired
	must(t, e.retention(job.Retention{Result: month}, 0).Sweep(e.Context(), between.Add(month)))
	e.wantStatus(id, job.Erased, "")
	log, err = e.jobs.Read(e.Context(), id)
	must(t, err)
	if erased, ok := event.Last[event.Erased](log); !ok || erased.Owner != "alice" {
		t.Errorf("%+v", log)
	}
}

func TestACrowdedLogIsFreedOfJobsThatStillHaveTheirLogs(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.completed()
	must(t, e.retention(job.Retention{Result: time.Hour}, 0.99).Sweep(e.Context(), time.Now().Add(2*time.Hour)))
	e.wantStatus(id, job.Erased, "")
}

func TestAJobThatCannotBeErasedDelaysNoOther(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	jobs := []string{e.completed(), e.completed(), e.completed()}
	broken := command.NewEraser(command.NewDecider(brokenLog{e.jobs, jobs[1]}, e.projector), e.rows)
	usage := func(context.Context) (float64, error) { return 0, nil }
	sweeper := command.NewRetentionSweeper(broken, e.rows, usage, command.RetentionOptions{Retention: job.Retention{Result: month}, Log: zerolog.Nop()})
	if err := sweeper.Sweep(e.Context(), time.Now().Add(2*month)); err == nil {
		t.Error("the failure is not reported")
	}
	var left []string
	for _, id := range jobs {
		if s, _, err := e.rows.Find(e.Context(), id); err != nil || s.Status != job.Erased {
			left = append(left, id)
		}
	}
	if !slices.Equal(left, jobs[1:2]) {
		t.Errorf("%v are left of %v", left, jobs)
	}
}

func TestTheRecordingOfAnEndedJobExpiresAndItsResultStays(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	done, failed, active := e.completed(), e.failed(), e.dispatched(1)
	unstored := e.received()
	canceled := e.record(unstored, event.Canceled{JobID: unstored.JobID})
	keep := job.Retention{Audio: month}
	must(t, e.retention(keep, 0).Sweep(e.Context(), time.Now().Add(month-time.Hour)))
	e.wantLast(done, event.NameCompleted)
	must(t, e.retention(keep, 0.95).Sweep(e.Context(), time.Now().Add(month+time.Hour))) // crowded
	e.wantLast(done, event.NameCompleted)
	var replicas sync.WaitGroup
	failures := make([]error, 3)
	for i := range failures {
		replicas.Go(func() { failures[i] = e.retention(keep, 0).Sweep(e.Context(), time.Now().Add(month+time.Hour)) })
	}
	replicas.Wait()
	must(t, errors.Join(failures...))
	for id, want := range map[string]event.Name{
		done: event.NameExpired, failed: event.NameExpired, active: event.NameDispatched, canceled: event.NameCanceled,
	} {
		e.wantLast(id, want)
		e.project(id) // a redelivery must change nothing
	}
	s, _, err := e.rows.Find(e.Context(), done)
	must(t, err)
	if s.Status != job.Completed || s.Result == "" || s.AudioDeletedAt.IsZero() || !s.UpdatedAt.Equal(s.EndedAt) {
		t.Errorf("%+v", s)
	}
	must(t, e.eraser.Erase(e.Context(), done, "alice"))
	e.wantStatus(done, job.Erased, "")
}

func TestAJobThatWasRetriedKeepsItsRecording(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.failed()
	_, err := command.NewControl(command.NewDecider(e.jobs, noProjector{}), e.rows, used(0), time.Minute).
		Do(e.Context(), command.Request{Job: id, Action: command.Retry}) // the retry is in the log, but not in the record
	must(t, err)
	must(t, e.retention(job.Retention{Audio: month}, 0).Sweep(e.Context(), time.Now().Add(month+time.Hour)))
	e.wantLast(id, event.NameRetried)
	e.wantStatus(id, job.Processing, "")
}

// noProjector records nothing, as if the database were unavailable.
type noProjector struct{}

func (noProjector) Project(context.Context, []job.Entry) error { return nil }

func TestARetryIsRefusedOnceTheRecordingHasExpired(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	kept, expired := e.failed(), e.failed()
	e.expireLog(expired)
	must(t, e.retention(job.Retention{Audio: month}, 0).Sweep(e.Context(), time.Now().Add(month+time.Hour)))
	for _, id := range []string{kept, expired} {
		e.wantLast(id, event.NameExpired)
		for _, force := range []bool{false, true} {
			_, err := command.NewControl(e.decider, e.rows, used(0), time.Minute).Do(e.Context(), command.Request{Job: id, Action: command.Retry, Force: force})
			if f := fault.As(err); f == nil || f.Code != "job-not-retryable" || !strings.Contains(f.Detail, "recording was deleted") {
				t.Errorf("%v", err)
			}
		}
		e.wantLast(id, event.NameExpired)
		e.wantStatus(id, job.Failed, "analysis-timeout")
		must(t, e.eraser.Erase(e.Context(), id, ""))
		e.wantStatus(id, job.Erased, "")
	}
}

func TestARetryLeavesTheRestOfTheLogToEndsCancellationsAndErasures(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.failed()
	do := func(part float64, a command.Action) error {
		_, err := command.NewControl(e.decider, e.rows, used(part), time.Minute).Do(e.Context(), command.Request{Job: id, Action: a})
		return err
	}
	if f := fault.As(do(0.95, command.Retry)); f == nil || f.Code != "bus-full" {
		t.Errorf("%v", f)
	}
	e.wantStatus(id, job.Failed, "analysis-timeout")
	must(t, do(0.94, command.Retry))
	e.wantLast(id, event.NameRetried)
	must(t, do(0.99, command.Cancel))
	e.wantLast(id, event.NameCanceled)
}

// A retry and the expiry of the recording append to the same log at the same time: one of them must
// win.
func TestOfARetryAndAnExpiryAtTheSameTimeOneWins(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for range 10 {
		id := e.failed()
		var both sync.WaitGroup
		var retryErr, sweepErr error
		both.Go(func() {
			_, retryErr = command.NewControl(e.decider, e.rows, used(0), time.Minute).Do(e.Context(), command.Request{Job: id, Action: command.Retry})
		})
		both.Go(func() {
			sweepErr = e.retention(job.Retention{Audio: month}, 0).Sweep(e.Context(), time.Now().Add(month+time.Hour))
		})
		both.Wait()
		must(t, sweepErr)
		want := event.NameRetried
		if retryErr != nil {
			want = event.NameExpired
		}
		e.wantLast(id, want)
		e.project(id)
		if s, _, err := e.rows.Find(e.Context(), id); err != nil || s.AudioDeletedAt.IsZero() != (retryErr == nil) {
			t.Errorf("%v: %+v, %v", retryErr, s, err)
		}
	}
}

func TestAnExpiredThatCannotBeDecodedExpires(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.completed()
	_, err := e.JetStream().Publish(e.Context(), e.Namespace().Subject(event.SubjectOf(id, event.NameExpired)), []byte("{"))
	must(t, err)
	log, err := e.jobs.Read(e.Context(), id)
	must(t, err)
	must(t, e.unprojectable.Fail(e.Context(), id, job.Entry{Seq: log.Seq(), Time: time.Now()}))
	e.wantStatus(id, job.Completed, "")
	if s, _, err := e.rows.Find(e.Context(), id); err != nil || s.AudioDeletedAt.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
}
