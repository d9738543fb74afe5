// Package command decides what is appended to the logs of jobs: cancel, retry and erase on
// request, lapsed and failed when a deadline is over, failed when an event cannot be recorded.
//
// Each decision is a Rule, a pure function of the job's log. The decider appends what the rule
// returns if the log still ends as the rule saw it, so that one writer wins. Records are never
// decided on: they may be behind the log.
package command

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
)

// Log is the log of jobs.
type Log interface {
	// Update appends the event that decide chooses, if the log still ends as decide saw it;
	// otherwise decide is called again. It returns the log with the new event.
	Update(ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error)
}

// Projector records events.
type Projector interface {
	Project(ctx context.Context, entries []job.Entry) error
}

// Finder finds the records of jobs.
type Finder interface {
	// Find returns the newest version of a job; false if there is none that clients see.
	Find(ctx context.Context, id string) (job.Snapshot, bool, error)
}

// Rule chooses the event to append to a job's log; nil to append none.
type Rule func(log event.Log) (event.Event, error)

// Decider applies rules to the logs of jobs and records what they append.
type Decider struct {
	log       Log
	projector Projector
}

// NewDecider makes a decider.
func NewDecider(log Log, projector Projector) *Decider {
	return &Decider{log: log, projector: projector}
}

// append applies a rule to a job's log. It returns the log with the appended event, and that event;
// nil if the rule chose none.
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

// recordTimeout bounds how long a response waits for the record.
const recordTimeout = 2 * time.Second

// recordNow records a log without waiting for its consumer, which records it again. Its failure
// does not fail the decision, which is durable.
func (d *Decider) recordNow(ctx context.Context, log event.Log) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	if err := d.record(ctx, job.Entries(log)); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("decision not recorded yet")
	}
}
