package job_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/store"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/postgres"
	"sori.internal/shared/testkit"
)

// deadlines of a tracker: an analysis may take ten times its audio, from ten
// minutes to two hours.
var deadlines = job.Deadlines{Dispatch: time.Hour, Factor: 10, Min: 10 * time.Minute, Max: 2 * time.Hour}

// silent announces nothing.
type silent struct{}

func (silent) Announce(job.Snapshot) error { return nil }

// desk is a core with its real surroundings, without the consumer.
type desk struct {
	*testkit.Kit
	t         *testing.T
	bus       *bus.Bus
	rows      *store.Store
	projector *job.Projector
	control   *job.Control
	eraser    *job.Eraser
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	k := testkit.New(t)
	k.Database()
	var cfg postgres.Config
	k.Load(&cfg)
	db, err := postgres.Open(cfg, store.Schema)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	migrations, err := store.Migrations()
	must(t, err)
	must(t, postgres.Migrate(k.Context(), db, store.Schema, migrations))
	d := &desk{Kit: k, t: t, bus: k.Bus("tracker", event.Jobs(), event.Staging()), rows: store.New(db)}
	d.projector = job.NewProjector(d.rows, d.bus, d.bus, silent{})
	d.control = job.NewControl(d.bus, d.projector)
	d.eraser = job.NewEraser(d.projector, d.rows)
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// says appends events to a job's log and projects them.
func (d *desk) says(events ...event.Event) string {
	d.t.Helper()
	for _, e := range events {
		d.appends(e)
		d.projects(e.Job())
	}
	return events[0].Job()
}

func (d *desk) appends(e event.Event) {
	d.t.Helper()
	_, err := d.bus.Decide(d.Context(), e.Job(), nil, func(event.Log) (event.Event, error) { return e, nil })
	must(d.t, err)
}

func (d *desk) projects(id string) {
	d.t.Helper()
	log, err := d.bus.Log(d.Context(), id)
	must(d.t, err)
	var entries []job.Entry
	for _, r := range log {
		entries = append(entries, job.Entry{Event: r.Event, Seq: r.Seq, Time: r.Time})
	}
	must(d.t, d.projector.Project(d.Context(), entries))
}

// sweep sweeps as it would be done after some time.
func (d *desk) sweep(after time.Duration) {
	d.t.Helper()
	s := job.NewSweeper(d.rows, d.control, deadlines, time.Hour, zerolog.Nop())
	must(d.t, s.Sweep(d.Context(), time.Now().Add(after)))
}

// ends checks what the log of a job ends with.
func (d *desk) ends(id string, name event.Name) {
	d.t.Helper()
	if story := d.Story(d.bus, id); story[len(story)-1] != name {
		d.t.Errorf("story %v, want %s at the end", story, name)
	}
}

// is checks a job's status, and the code of its failure, in its record.
func (d *desk) is(id string, status job.Status, code string) {
	d.t.Helper()
	s, found, err := d.rows.Find(d.Context(), id)
	must(d.t, err)
	if !found || s.Status != status || s.Error.Code != code {
		d.t.Errorf("the job is %s with %+v, want %s %s", s.Status, s.Error, status, code)
	}
}

func (d *desk) received() event.Received { return event.Received{JobID: d.NewJob(), TokenID: 7} }

func storedFor(id string, seconds float64) event.Stored {
	return event.Stored{JobID: id, TokenID: 7, Bucket: "b", Key: "k", Duration: seconds}
}

// dispatched brings a new job with so much audio to the analysis server.
func (d *desk) dispatched(seconds float64) string {
	r := d.received()
	return d.says(r, storedFor(r.JobID, seconds), event.Attempted{JobID: r.JobID, Attempt: 1}, event.Dispatched{JobID: r.JobID, Attempt: 1})
}

const second = time.Second

func TestAJobThatIsNotDispatchedInTimeFails(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	received := d.received()
	d.says(received)
	other := d.received()
	waiting := d.says(other, storedFor(other.JobID, 5), event.Attempted{JobID: other.JobID, Attempt: 1})
	d.sweep(time.Hour - 10*second)
	d.is(received.JobID, job.Processing, "")
	d.is(waiting, job.Processing, "")
	d.sweep(time.Hour)
	d.is(received.JobID, job.Failed, "dispatch-timeout")
	d.is(waiting, job.Failed, "dispatch-timeout")
	for id, want := range map[string]event.Failed{
		received.JobID: {Attempt: 0, Retryable: false}, // there is nothing in the bucket to try again
		waiting:        {Attempt: 1, Retryable: true},
	} {
		if f := testkit.Await[event.Failed](d.Kit, d.bus, id); f.Attempt != want.Attempt || f.Retryable != want.Retryable || f.Detail == "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestAnAnalysisHasTimeByTheLengthOfItsAudio(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for seconds, allowed := range map[float64]time.Duration{
		1: 10 * time.Minute, 60: 10 * time.Minute, 180: 30 * time.Minute, 719: 7190 * second, 100_000: 2 * time.Hour, 1e300: 2 * time.Hour, 0: 2 * time.Hour,
	} {
		id := d.dispatched(seconds)
		d.sweep(allowed - 10*second)
		d.ends(id, event.NameDispatched)
		d.sweep(allowed)
		d.ends(id, event.NameLapsed)
		d.is(id, job.Processing, "")
		if l := testkit.Await[event.Lapsed](d.Kit, d.bus, id); l.Attempt != 1 {
			t.Errorf("%v s: %+v", seconds, l)
		}
	}
}

func TestALapsedAttemptThatNobodySeesToFailsItsJob(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.dispatched(1)
	d.sweep(10 * time.Minute)
	d.sweep(time.Hour - 10*second)
	d.ends(id, event.NameLapsed)
	d.sweep(time.Hour)
	d.is(id, job.Failed, "analysis-timeout")
	if f := testkit.Await[event.Failed](d.Kit, d.bus, id); f.Attempt != 1 || !f.Retryable {
		t.Errorf("%+v", f)
	}
}

func TestAnEndedJobHasNoDeadline(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, ending := range []func(string) event.Event{
		func(id string) event.Event { return event.Canceled{JobID: id} },
		func(id string) event.Event { return event.Failed{JobID: id, Attempt: 1, Code: "x"} },
		func(id string) event.Event {
			return event.Completed{JobID: id, Attempt: 1, Result: []byte(`{}`)}
		},
	} {
		id := d.dispatched(1)
		d.says(ending(id))
		before := d.Story(d.bus, id)
		d.sweep(1000 * time.Hour)
		if after := d.Story(d.bus, id); !slices.Equal(after, before) {
			t.Errorf("story %v became %v", before, after)
		}
	}
}

func TestARetryAndAFurtherAttemptHaveTimeOfTheirOwn(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.dispatched(1)
	d.sweep(10 * time.Minute)
	d.says(event.Attempted{JobID: id, Attempt: 2})
	d.sweep(time.Hour - 10*second)
	d.ends(id, event.NameAttempted)
	d.says(event.Dispatched{JobID: id, Attempt: 2})
	d.sweep(10*time.Minute - 10*second)
	d.ends(id, event.NameDispatched)
	d.sweep(10 * time.Minute)
	d.ends(id, event.NameLapsed)
	d.says(event.Failed{JobID: id, Attempt: 2, Code: "analysis-timeout"})
	d.says(event.Retried{JobID: id, Attempt: 3})
	d.sweep(time.Hour - 10*second)
	d.is(id, job.Processing, "")
	d.sweep(time.Hour)
	d.is(id, job.Failed, "dispatch-timeout")
	if f := testkit.Await[event.Failed](d.Kit, d.bus, id); f.Attempt != 3 {
		t.Errorf("%+v", f)
	}
	d.says(event.Retried{JobID: id, Attempt: 4}, event.Attempted{JobID: id, Attempt: 4}, event.Dispatched{JobID: id, Attempt: 4})
	d.sweep(10 * time.Minute)
	d.ends(id, event.NameLapsed)
}

// The record may be behind the log: it only points to candidates.
func TestTheLogDecidesWhatTheRecordMissed(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	completed, dispatched := d.received(), d.received()
	for _, r := range []event.Received{completed, dispatched} {
		d.says(r)
		d.appends(storedFor(r.JobID, 600))
		d.appends(event.Attempted{JobID: r.JobID, Attempt: 1})
	}
	d.appends(event.Completed{JobID: completed.JobID, Attempt: 1, Result: []byte(`{"a":1}`)})
	d.appends(event.Dispatched{JobID: dispatched.JobID, Attempt: 1})
	d.sweep(time.Hour)
	d.is(completed.JobID, job.Completed, "")
	d.is(dispatched.JobID, job.Processing, "")
	if s, _, err := d.rows.Find(d.Context(), dispatched.JobID); err != nil || s.Progress != 90 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestAJobWhoseLogIsGoneEndsAllTheSame(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.dispatched(1)
	stream, err := d.JetStream().Stream(d.Context(), d.Namespace().Stream(event.Jobs().Name))
	must(t, err)
	must(t, stream.Purge(d.Context()))
	d.sweep(time.Hour)
	d.is(id, job.Failed, "log-lost")
	if story := d.Story(d.bus, id); len(story) != 0 {
		t.Errorf("story %v", story)
	}
}

// stubborn is a journal that fails for one job.
type stubborn struct {
	job.Journal
	of string
}

func (s stubborn) Decide(ctx context.Context, id string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error) {
	if id == s.of {
		return nil, fault.Away("message bus", errors.New("not for this one"))
	}
	return s.Journal.Decide(ctx, id, known, decide)
}

func TestAJobThatCannotBeEndedDoesNotKeepTheOthers(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ids := []string{d.dispatched(1), d.dispatched(1), d.dispatched(1)}
	control := job.NewControl(stubborn{d.bus, ids[0]}, d.projector)
	s := job.NewSweeper(d.rows, control, deadlines, time.Hour, zerolog.Nop())
	if err := s.Sweep(d.Context(), time.Now().Add(10*time.Minute)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	d.ends(ids[0], event.NameDispatched)
	d.ends(ids[1], event.NameLapsed)
	d.ends(ids[2], event.NameLapsed)
	d.sweep(10 * time.Minute)
	d.ends(ids[0], event.NameLapsed)
}

func TestManySweepsAndACompletionMakeOneEnding(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for range 10 {
		id := d.says(event.Lapsed{JobID: d.dispatched(1), Attempt: 1})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				s := job.NewSweeper(d.rows, d.control, deadlines, time.Hour, zerolog.Nop())
				if err := s.Sweep(d.Context(), time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			_, err := d.bus.Decide(d.Context(), id, nil, func(log event.Log) (event.Event, error) {
				if _, ended := log.Ending(); ended {
					return nil, nil
				}
				return event.Completed{JobID: id, Attempt: 1, Result: []byte(`{}`)}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if story := d.Story(d.bus, id); len(story) != 6 || !story[5].Ending() {
			t.Errorf("story %v", story)
		}
	}
}
