// Package projection records the events of jobs. It merges many events into the records in one
// transaction, and publishes a live update of each record whose version has grown.
//
// Events may be recorded several times, in any order and in any batches: the records are the same.
package projection

import (
	"context"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
)

// Rows stores the records.
type Rows interface {
	// Merge merges the entries of any number of jobs into their records, all or none. The entries
	// are grouped by job. Merge returns what has changed, after the commit.
	Merge(ctx context.Context, entries map[string][]job.Entry) (job.Changes, error)
	// Find returns the newest version of a job that clients may see. It returns false if the job is
	// not recorded.
	Find(ctx context.Context, id string) (job.Snapshot, bool, error)
}

// Notifier sends a new version of a job to every replica of the tracker. A notification may be
// lost.
type Notifier interface {
	Notify(s job.Snapshot) error
}

// Dependencies has the dependencies of a projector.
type Dependencies struct {
	Rows     Rows
	Staging  Staging
	Logs     Logs
	Notifier Notifier
	// CountEnd counts the end of a job. It is called after the commit, once for each end: not again if
	// the event is delivered again, or recorded by another replica. If the process is killed between the
	// commit and the call, the end is not counted.
	CountEnd func(job.Snapshot)
}

// Projector records events.
type Projector struct {
	rows     Rows
	results  results
	notifier Notifier
	countEnd func(job.Snapshot)
}

// New makes a projector.
func New(d Dependencies) *Projector {
	return &Projector{
		rows: d.Rows, results: results{staging: d.Staging, logs: d.Logs, rows: d.Rows}, notifier: d.Notifier, countEnd: d.CountEnd,
	}
}

// Project records entries and publishes live updates. After an error, some of the entries may be
// recorded, and Project may be called again with all of them. It records the results that are in
// staging last, because reading and storing them takes long, and the other jobs must not wait for
// that.
func (p *Projector) Project(ctx context.Context, entries []job.Entry) error {
	var small, large []job.Entry
	for _, e := range entries {
		if ev, ok := e.Event.(event.Completed); ok && ev.ResultEntry != "" {
			large = append(large, e)
		} else {
			small = append(small, e)
		}
	}
	for _, rest := range [][]job.Entry{small, large} {
		for len(rest) > 0 {
			n := transactionSize(rest)
			if err := p.project(ctx, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	return nil
}

// The limits for the staged results that one transaction records.
const (
	maxResultBytes = 16 << 20
	chunkBytes     = 256 << 10 // size of the largest chunk in staging
)

// transactionSize returns how many of the entries, from the first, are recorded in one transaction.
// The entries may be divided anywhere, since their order does not matter.
func transactionSize(entries []job.Entry) int {
	bytes := 0
	for i, e := range entries {
		if ev, ok := e.Event.(event.Completed); ok {
			bytes += len(ev.Result) + ev.ResultChunks*chunkBytes
		}
		if bytes > maxResultBytes && i > 0 {
			return i
		}
	}
	return len(entries)
}

// project records entries in one transaction. After the commit it removes the recorded results from
// staging.
func (p *Projector) project(ctx context.Context, entries []job.Entry) error {
	byJob, staged, err := p.withResults(ctx, entries)
	if err != nil {
		return err
	}
	changes, err := p.rows.Merge(ctx, byJob)
	if err != nil {
		return err
	}
	for _, s := range changes.Ended {
		p.countEnd(s)
	}
	for _, s := range changes.Grown {
		if err := p.notifier.Notify(s); err != nil { // a lost update is no failure, since streams also read the record periodically
			zerolog.Ctx(ctx).Debug().Err(err).Msg("live update not published")
		}
	}
	return p.results.remove(ctx, staged)
}

// withResults groups entries by job, and sets the results of completed events. It also returns the
// staging entries from which it has read results.
func (p *Projector) withResults(ctx context.Context, entries []job.Entry) (byJob map[string][]job.Entry, staged []string, err error) {
	byJob = make(map[string][]job.Entry, len(entries))
	for _, e := range entries {
		if ev, ok := e.Event.(event.Completed); ok {
			if e.Result, err = p.results.resultOf(ctx, ev); err != nil {
				return nil, nil, err
			}
			if ev.ResultEntry != "" {
				staged = append(staged, ev.ResultEntry)
			}
		}
		byJob[e.Event.Job()] = append(byJob[e.Event.Job()], e)
	}
	return byJob, staged, nil
}
