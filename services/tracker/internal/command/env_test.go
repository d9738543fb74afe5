package command_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/command"
	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/projection"
	"sori.internal/services/tracker/internal/store"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/postgres"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/testdb"
)

// deadlines has the deadlines of a tracker: an analysis may take ten times the duration of its
// audio, from ten minutes to two hours.
var deadlines = command.Deadlines{Dispatch: time.Hour, Factor: 10, Min: 10 * time.Minute, Max: 2 * time.Hour}

// noNotifier publishes no live updates.
type noNotifier struct{}

func (noNotifier) Notify(job.Snapshot) error { return nil }

// env is a test environment of the core: its real dependencies, but no consumers.
type env struct {
	*testkit.Kit
	t             *testing.T
	bus           *bus.Bus
	jobs          *joblog.Store
	rows          *store.Store
	projector     *projection.Projector
	decider       *command.Decider
	eraser        *command.Eraser
	unprojectable *command.Unprojectable
}

func newEnv(t *testing.T) *env {
	t.Helper()
	k := testkit.New(t)
	db := testdb.Open(k, store.Schema)
	migrations, err := store.Migrations()
	must(t, err)
	must(t, postgres.Migrate(k.Context(), db, store.Schema, migrations))
	b := k.Bus("tracker", event.Jobs(), event.Staging())
	e := &env{Kit: k, t: t, bus: b, jobs: joblog.New(b), rows: store.New(db)}
	e.projector = projection.New(projection.Dependencies{Rows: e.rows, Staging: staging.New(e.bus), Logs: e.jobs, Notifier: noNotifier{}, CountEnd: func(job.Snapshot) {}})
	e.decider = command.NewDecider(e.jobs, e.projector)
	e.eraser = command.NewEraser(e.decider, e.rows)
	e.unprojectable = command.NewUnprojectable(e.decider, e.eraser)
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// record appends events to a job's log, and projects the log after each event.
func (e *env) record(events ...event.Event) string {
	e.t.Helper()
	for _, ev := range events {
		e.append(ev)
		e.project(ev.Job())
	}
	return events[0].Job()
}

func (e *env) append(ev event.Event) {
	e.t.Helper()
	_, err := e.jobs.Update(e.Context(), ev.Job(), nil, func(event.Log) (event.Event, error) { return ev, nil })
	must(e.t, err)
}

// project records a job's log, as the projection does.
func (e *env) project(id string) {
	e.t.Helper()
	log, err := e.jobs.Read(e.Context(), id)
	must(e.t, err)
	entries := job.Entries(log)
	must(e.t, e.projector.Project(e.Context(), entries))
	must(e.t, e.eraser.EraseOrphans(e.Context(), entries))
}

func (e *env) sweeper(decider *command.Decider) *command.Sweeper {
	return command.NewSweeper(decider, e.rows, e.jobs, command.SweeperOptions{Deadlines: deadlines, Interval: time.Hour, Log: zerolog.Nop()})
}

// sweep calls Sweep with a time that lies the given duration in the future.
func (e *env) sweep(after time.Duration) {
	e.t.Helper()
	must(e.t, e.sweeper(e.decider).Sweep(e.Context(), time.Now().Add(after)))
}

// wantLast checks the type of the last event in a job's log.
func (e *env) wantLast(id string, name event.Name) {
	e.t.Helper()
	if names := e.EventNames(e.bus, id); names[len(names)-1] != name {
		e.t.Errorf("the log is %v, want %s at the end", names, name)
	}
}

// wantStatus checks the status and the failure code in a job's record.
func (e *env) wantStatus(id string, status job.Status, code string) {
	e.t.Helper()
	s, found, err := e.rows.Find(e.Context(), id)
	must(e.t, err)
	if !found || s.Status != status || s.Error.Code != code {
		e.t.Errorf("the job is %s with %+v, want %s %s", s.Status, s.Error, status, code)
	}
}

func (e *env) received() event.Received { return event.Received{JobID: e.NewJob(), TokenID: 7} }

func storedFor(id string, seconds float64) event.Stored {
	return event.Stored{JobID: id, TokenID: 7, Bucket: "b", Key: "k", Duration: seconds}
}

// dispatched returns a job that the analysis server has accepted. seconds is the duration of its
// recording.
func (e *env) dispatched(seconds float64) string {
	r := e.received()
	return e.record(r, storedFor(r.JobID, seconds), event.Attempted{JobID: r.JobID, Attempt: 1}, event.Dispatched{JobID: r.JobID, Attempt: 1})
}

// brokenLog fails for one job.
type brokenLog struct {
	command.Log
	id string
}

func (l brokenLog) Update(ctx context.Context, id string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error) {
	if id == l.id {
		return nil, fault.Unreachable("message bus", errors.New("not for this job"))
	}
	return l.Log.Update(ctx, id, known, decide)
}
