// Package command appends events to the logs of jobs: on request the event `canceled`, `retried` or
// `erased`; after a deadline `lapsed` or `failed`; after a retention `expired` or `erased`; and
// `failed` if an event cannot be recorded.
//
// Each decision is a Rule, a pure function of the job's log. The Decider appends the event that the
// rule returns, if the log has not changed since it was read. So of several concurrent writers one
// succeeds. Rules do not read records, which may lag behind the log.
package command

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
)

// Log appends events to the logs of jobs.
type Log interface {
	// Update appends the event that decide returns for a job's log. If the log has changed
	// meanwhile, Update calls decide again with the new log. It returns the log with the new event.
	// The parameter known is the log if the caller has read it: then the first call of decide gets
	// known, and the log is not read before that call.
	Update(ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error)
}

// Projector records events.
type Projector interface {
	Project(ctx context.Context, entries []job.Entry) error
}

// Finder finds the records of jobs.
type Finder interface {
	// Find returns the newest version of a job that clients may see. It returns false if the job is
	// not recorded.
	Find(ctx context.Context, id string) (job.Snapshot, bool, error)
}

// Rule returns the event to append to a job's log, or nil to append none.
type Rule func(log event.Log) (event.Event, error)

// Decider applies rules to the logs of jobs and records the appended events.
type Decider struct {
	log       Log
	projector Projector
}

// NewDecider makes a decider.
func NewDecider(log Log, projector Projector) *Decider {
	return &Decider{log: log, projector: projector}
}

// append applies a rule to a job's log. It returns the log with the appended event, and the event
// itself. The event is nil if the rule returned none.
func (d *Decider) append(ctx context.Context, id string, rule Rule) (event.Log, event.Event, error) {
	var appended event.Event
	log, err := d.log.Update(ctx, id, nil, func(log event.Log) (e event.Event, err error) {
		appended, err = rule(log)
		return appended, err
	})
	if err != nil {
		return nil, nil, err
	}
	return log, appended, nil
}

// record records entries.
func (d *Decider) record(ctx context.Context, entries []job.Entry) error {
	return d.projector.Project(ctx, entries)
}

// recordTimeout is how long a response waits until the event is recorded.
const recordTimeout = 2 * time.Second

// recordNow records a log without waiting for the projection, which records it again. An error is
// only logged, since the event is durable.
func (d *Decider) recordNow(ctx context.Context, log event.Log) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	if err := d.record(ctx, job.Entries(log)); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("decision not recorded yet")
	}
}
