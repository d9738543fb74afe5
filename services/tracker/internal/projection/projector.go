// Package projection records the events of jobs. It merges many events into the records in one
// transaction, and publishes a live update of each record that has changed for clients.
//
// Events may be recorded again, in any order and in any batches: a record does not change by that.
package projection

import (
	"context"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
)

// Rows stores the records.
type Rows interface {
	// Merge merges the entries of any number of jobs into their records, all or none. It returns
	// the snapshots of the records whose version has grown.
	Merge(ctx context.Context, entries map[string][]job.Entry) ([]job.Snapshot, error)
	// Find returns the newest version of a job that clients may see; false if there is none.
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
}

// Projector records events.
type Projector struct {
	rows     Rows
	results  results
	notifier Notifier
}

// New makes a projector.
func New(d Dependencies) *Projector {
	return &Projector{rows: d.Rows, results: results{staging: d.Staging, logs: d.Logs, rows: d.Rows}, notifier: d.Notifier}
}

// Project records entries and publishes the changed records. After an error, some entries may be
// recorded; Project may be called with them again. It records results in staging last: reading and
// storing them takes long, and the events of other jobs must not wait for it.
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

// The limits of the staged results that are in memory for one transaction.
const (
	maxResultBytes = 16 << 20
	chunkBytes     = 256 << 10 // the largest message of staging
)

// transactionSize returns how many of the entries to record in one transaction. The order of
// entries does not matter, so they may be divided anywhere.
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

// project records entries in one transaction. Staged results are removed after the commit.
func (p *Projector) project(ctx context.Context, entries []job.Entry) error {
	byJob, staged, err := p.withResults(ctx, entries)
	if err != nil {
		return err
	}
	changed, err := p.rows.Merge(ctx, byJob)
	if err != nil {
		return err
	}
	for _, s := range changed {
		if err := p.notifier.Notify(s); err != nil { // streams read the row again by themselves
			zerolog.Ctx(ctx).Debug().Err(err).Msg("live update not published")
		}
	}
	return p.results.remove(ctx, staged)
}

// withResults groups entries by job and adds the results to the completed events. It also returns
// the staging entries that contain results.
func (p *Projector) withResults(ctx context.Context, entries []job.Entry) (byJob map[string][]job.Entry, staged []string, err error) {
	byJob = make(map[string][]job.Entry, len(entries))
	for _, e := range entries {
		if ev, ok := e.Event.(event.Completed); ok {
			if e.Result, err = p.results.of(ctx, ev); err != nil {
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
