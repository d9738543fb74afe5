package analysis_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// faults counts the operations of all dependencies, and makes one of them fail.
type faults struct {
	at   int  // number of the operation that fails, from 0; -1 if none fails
	lost bool // the failing operation is performed, and only its response is lost

	mu     sync.Mutex
	writes []bool // for each operation so far: whether it writes
	failed string // name of the operation that failed
}

// next counts an operation, and reports whether it fails.
func (f *faults) next(name string, writes bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, writes)
	if len(f.writes)-1 != f.at {
		return false
	}
	f.failed = name
	return true
}

func injected(name string) error {
	return fault.Unreachable("message bus", errors.New("the test injects a fault into "+name))
}

// read performs an operation that changes nothing, unless it is the one that fails.
func read[T any](f *faults, name string, do func() (T, error)) (T, error) {
	if f.next(name, false) {
		var none T
		return none, injected(name)
	}
	return do()
}

// write performs an operation. If it is the one that fails, it is performed only if its response is
// lost.
func write[T any](f *faults, name string, do func() (T, error)) (result T, err error) {
	fails := f.next(name, true)
	if !fails || f.lost {
		if result, err = do(); err != nil || !fails {
			return result, err
		}
	}
	var none T
	return none, injected(name)
}

// run is write for an operation without a result.
func run(f *faults, name string, do func() error) error {
	_, err := write(f, name, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// inject returns the dependencies with faults in all operations.
func (f *faults) inject(d analysis.Dependencies) analysis.Dependencies {
	d.Jobs = faultyJobs{f, d.Jobs}
	d.Progress = faultyProgress{f, d.Progress}
	d.Staging = faultyStaging{d.Staging, f}
	d.Links = faultyLinks{f, d.Links}
	d.Analyzer = faultyAnalyzer{d.Analyzer, f}
	d.Queue = faultyQueue{f, d.Queue}
	d.Sharing = faultySharing{d.Sharing, f}
	d.StatusSeen = faultyFlag{f, d.StatusSeen}
	if d.Slots != nil {
		d.Slots = faultySlots{f, d.Slots}
	}
	if d.Results != nil {
		d.Results, d.Versions = faultyResults{f, d.Results}, faultyVersions{f, d.Versions}
	}
	return d
}

type faultyJobs struct {
	f    *faults
	jobs analysis.JobLog
}

func (j faultyJobs) Read(ctx context.Context, job string) (event.Log, error) {
	return read(j.f, "Jobs.Read", func() (event.Log, error) { return j.jobs.Read(ctx, job) })
}

// timed is an event with its time.
type timed[E any] struct {
	event *E
	at    time.Time
}

func (j faultyJobs) Received(ctx context.Context, job string) (*event.Received, time.Time, error) {
	r, err := read(j.f, "Jobs.Received", func() (timed[event.Received], error) {
		e, at, err := j.jobs.Received(ctx, job)
		return timed[event.Received]{e, at}, err
	})
	return r.event, r.at, err
}

func (j faultyJobs) Newest(ctx context.Context, job string) (*event.Record, error) {
	return read(j.f, "Jobs.Newest", func() (*event.Record, error) { return j.jobs.Newest(ctx, job) })
}

func (j faultyJobs) Update(
	ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error),
) (event.Log, error) {
	return write(j.f, "Jobs.Update", func() (event.Log, error) { return j.jobs.Update(ctx, job, known, decide) })
}

func (j faultyJobs) LastProgress(ctx context.Context, job string) (*event.Progressed, time.Time, error) {
	p, err := read(j.f, "Jobs.LastProgress", func() (timed[event.Progressed], error) {
		e, at, err := j.jobs.LastProgress(ctx, job)
		return timed[event.Progressed]{e, at}, err
	})
	return p.event, p.at, err
}

type faultyProgress struct {
	f        *faults
	progress analysis.Progress
}

func (p faultyProgress) Publish(ctx context.Context, e event.Event) error {
	return run(p.f, "Progress.Publish "+string(e.Name()), func() error { return p.progress.Publish(ctx, e) })
}

type faultyStaging struct {
	analysis.Staging

	f *faults
}

func (s faultyStaging) Put(ctx context.Context, entry string, r io.Reader) (event.Staged, error) {
	return write(s.f, "Staging.Put", func() (event.Staged, error) { return s.Staging.Put(ctx, entry, r) })
}

func (s faultyStaging) Delete(ctx context.Context, entry string) error {
	return run(s.f, "Staging.Delete", func() error { return s.Staging.Delete(ctx, entry) })
}

type faultyLinks struct {
	f     *faults
	links analysis.Links
}

func (l faultyLinks) Object(ctx context.Context, bucket, key string) (string, error) {
	return read(l.f, "Links.Object", func() (string, error) { return l.links.Object(ctx, bucket, key) })
}

func (l faultyLinks) Reference(ctx context.Context, ref string) (string, error) {
	return read(l.f, "Links.Reference", func() (string, error) { return l.links.Reference(ctx, ref) })
}

type faultyAnalyzer struct {
	analysis.Analyzer

	f *faults
}

func (a faultyAnalyzer) Submit(ctx context.Context, r analysis.Request) (analysis.Acceptance, error) {
	return write(a.f, "Analyzer.Submit", func() (analysis.Acceptance, error) { return a.Analyzer.Submit(ctx, r) })
}

func (a faultyAnalyzer) Status(ctx context.Context, job, serverID string) ([]byte, error) {
	return read(a.f, "Analyzer.Status", func() ([]byte, error) { return a.Analyzer.Status(ctx, job, serverID) })
}

func (a faultyAnalyzer) Cancel(ctx context.Context, job, serverID string) error {
	return run(a.f, "Analyzer.Cancel", func() error { return a.Analyzer.Cancel(ctx, job, serverID) })
}

type faultyFlag struct {
	f    *faults
	flag analysis.Flag
}

func (s faultyFlag) Set(ctx context.Context) error {
	return run(s.f, "StatusSeen.Set", func() error { return s.flag.Set(ctx) })
}

func (s faultyFlag) IsSet(ctx context.Context) (bool, error) {
	return read(s.f, "StatusSeen.IsSet", func() (bool, error) { return s.flag.IsSet(ctx) })
}

type faultySlots struct {
	f     *faults
	slots analysis.Slots
}

func (s faultySlots) Read(ctx context.Context) ([]analysis.Slot, error) {
	return read(s.f, "Slots.Read", func() ([]analysis.Slot, error) { return s.slots.Read(ctx) })
}

func (s faultySlots) Write(ctx context.Context, slot analysis.Slot) (bool, error) {
	return write(s.f, "Slots.Write", func() (bool, error) { return s.slots.Write(ctx, slot) })
}

type faultyQueue struct {
	f     *faults
	queue analysis.Queue
}

func (q faultyQueue) Add(ctx context.Context, e analysis.Entry) error {
	return run(q.f, "Queue.Add", func() error { return q.queue.Add(ctx, e) })
}

func (q faultyQueue) State(ctx context.Context) (analysis.QueueState, error) {
	return read(q.f, "Queue.State", func() (analysis.QueueState, error) { return q.queue.State(ctx) })
}

func (q faultyQueue) Owners(ctx context.Context) ([]string, error) {
	return read(q.f, "Queue.Owners", func() ([]string, error) { return q.queue.Owners(ctx) })
}

func (q faultyQueue) Next(ctx context.Context, owner string, from uint64) (*analysis.Entry, error) {
	return read(q.f, "Queue.Next", func() (*analysis.Entry, error) { return q.queue.Next(ctx, owner, from) })
}

func (q faultyQueue) Remove(ctx context.Context, e *analysis.Entry) error {
	return run(q.f, "Queue.Remove", func() error { return q.queue.Remove(ctx, e) })
}

func (q faultyQueue) Grant(ctx context.Context, e *analysis.Entry, unlimited bool) error {
	return run(q.f, "Queue.Grant", func() error { return q.queue.Grant(ctx, e, unlimited) })
}
