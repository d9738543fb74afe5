package analysis_test

import (
	"context"
	"io"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit/faults"
)

// inject returns the dependencies with the faults of a plan.
func inject(f *faults.Plan, d analysis.Dependencies) analysis.Dependencies {
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
	f    *faults.Plan
	jobs analysis.JobLog
}

func (j faultyJobs) Read(ctx context.Context, job string) (event.Log, error) {
	return faults.Read(j.f, "Jobs.Read", func() (event.Log, error) { return j.jobs.Read(ctx, job) })
}

// timed is an event with its time.
type timed[E any] struct {
	event *E
	at    time.Time
}

func (j faultyJobs) Received(ctx context.Context, job string) (*event.Received, time.Time, error) {
	r, err := faults.Read(j.f, "Jobs.Received", func() (timed[event.Received], error) {
		e, at, err := j.jobs.Received(ctx, job)
		return timed[event.Received]{e, at}, err
	})
	return r.event, r.at, err
}

func (j faultyJobs) Newest(ctx context.Context, job string) (*event.Record, error) {
	return faults.Read(j.f, "Jobs.Newest", func() (*event.Record, error) { return j.jobs.Newest(ctx, job) })
}

func (j faultyJobs) Update(
	ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error),
) (event.Log, error) {
	return faults.Write(j.f, "Jobs.Update", func() (event.Log, error) { return j.jobs.Update(ctx, job, known, decide) })
}

func (j faultyJobs) LastProgress(ctx context.Context, job string) (*event.Progressed, time.Time, error) {
	p, err := faults.Read(j.f, "Jobs.LastProgress", func() (timed[event.Progressed], error) {
		e, at, err := j.jobs.LastProgress(ctx, job)
		return timed[event.Progressed]{e, at}, err
	})
	return p.event, p.at, err
}

type faultyProgress struct {
	f        *faults.Plan
	progress analysis.Progress
}

func (p faultyProgress) Publish(ctx context.Context, e event.Event) error {
	return faults.Run(p.f, "Progress.Publish "+string(e.Name()), func() error { return p.progress.Publish(ctx, e) })
}

type faultyStaging struct {
	analysis.Staging

	f *faults.Plan
}

func (s faultyStaging) Put(ctx context.Context, entry string, r io.Reader) (event.Staged, error) {
	return faults.Write(s.f, "Staging.Put", func() (event.Staged, error) { return s.Staging.Put(ctx, entry, r) })
}

func (s faultyStaging) Delete(ctx context.Context, entry string) error {
	return faults.Run(s.f, "Staging.Delete", func() error { return s.Staging.Delete(ctx, entry) })
}

type faultyLinks struct {
	f     *faults.Plan
	links analysis.Links
}

func (l faultyLinks) Object(ctx context.Context, bucket, key string) (string, error) {
	return faults.Read(l.f, "Links.Object", func() (string, error) { return l.links.Object(ctx, bucket, key) })
}

func (l faultyLinks) Reference(ctx context.Context, ref string) (string, error) {
	return faults.Read(l.f, "Links.Reference", func() (string, error) { return l.links.Reference(ctx, ref) })
}

type faultyAnalyzer struct {
	analysis.Analyzer

	f *faults.Plan
}

func (a faultyAnalyzer) Submit(ctx context.Context, r analysis.Request) (analysis.Acceptance, error) {
	return faults.Write(a.f, "Analyzer.Submit", func() (analysis.Acceptance, error) { return a.Analyzer.Submit(ctx, r) })
}

func (a faultyAnalyzer) Status(ctx context.Context, job, serverID string) ([]byte, error) {
	return faults.Read(a.f, "Analyzer.Status", func() ([]byte, error) { return a.Analyzer.Status(ctx, job, serverID) })
}

func (a faultyAnalyzer) Cancel(ctx context.Context, job, serverID string) error {
	return faults.Run(a.f, "Analyzer.Cancel", func() error { return a.Analyzer.Cancel(ctx, job, serverID) })
}

type faultyFlag struct {
	f    *faults.Plan
	flag analysis.Flag
}

func (s faultyFlag) Set(ctx context.Context) error {
	return faults.Run(s.f, "StatusSeen.Set", func() error { return s.flag.Set(ctx) })
}

func (s faultyFlag) IsSet(ctx context.Context) (bool, error) {
	return faults.Read(s.f, "StatusSeen.IsSet", func() (bool, error) { return s.flag.IsSet(ctx) })
}

type faultySlots struct {
	f     *faults.Plan
	slots analysis.Slots
}

func (s faultySlots) Read(ctx context.Context) ([]analysis.Slot, error) {
	return faults.Read(s.f, "Slots.Read", func() ([]analysis.Slot, error) { return s.slots.Read(ctx) })
}

func (s faultySlots) Write(ctx context.Context, slot analysis.Slot) (bool, error) {
	return faults.Write(s.f, "Slots.Write", func() (bool, error) { return s.slots.Write(ctx, slot) })
}

type faultyQueue struct {
	f     *faults.Plan
	queue analysis.Queue
}

func (q faultyQueue) Add(ctx context.Context, e analysis.Entry) error {
	return faults.Run(q.f, "Queue.Add", func() error { return q.queue.Add(ctx, e) })
}

func (q faultyQueue) State(ctx context.Context) (analysis.QueueState, error) {
	return faults.Read(q.f, "Queue.State", func() (analysis.QueueState, error) { return q.queue.State(ctx) })
}

func (q faultyQueue) Owners(ctx context.Context) ([]string, error) {
	return faults.Read(q.f, "Queue.Owners", func() ([]string, error) { return q.queue.Owners(ctx) })
}

func (q faultyQueue) Next(ctx context.Context, owner string, from uint64) (*analysis.Entry, error) {
	return faults.Read(q.f, "Queue.Next", func() (*analysis.Entry, error) { return q.queue.Next(ctx, owner, from) })
}

func (q faultyQueue) Remove(ctx context.Context, e *analysis.Entry) error {
	return faults.Run(q.f, "Queue.Remove", func() error { return q.queue.Remove(ctx, e) })
}

func (q faultyQueue) Grant(ctx context.Context, e *analysis.Entry, unlimited bool) error {
	return faults.Run(q.f, "Queue.Grant", func() error { return q.queue.Grant(ctx, e, unlimited) })
}
