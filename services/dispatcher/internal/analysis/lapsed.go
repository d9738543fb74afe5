package analysis

import (
	"cmp"
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// HandleLapsed handles an attempt whose outcome the server did not report before the deadline. It
// polls the status URL if there is one:
//
//  1. If the server reports the outcome, HandleLapsed records it like that of a callback.
//  2. If the analysis is still running, or if the state cannot be known for now and the status URL has
//     returned a status before, HandleLapsed returns an error with the delay until the next poll.
//  3. Otherwise HandleLapsed sends the next attempt or, after the last attempt, fails the job.
func (d *Dispatcher) HandleLapsed(ctx context.Context, e event.Lapsed, backoff time.Duration) error {
	log, err := d.Jobs.Read(ctx, e.JobID)
	if err != nil {
		return err
	}
	switch afterLapsed(log, e.Attempt) {
	case stepPoll:
		settled, err := d.pollLapsed(ctx, e, log)
		if settled || err != nil {
			return err
		}
		return d.makeNextAttempt(ctx, log, e.Attempt, backoff)
	case stepNext:
		return d.makeNextAttempt(ctx, log, e.Attempt, backoff)
	default:
		return nil
	}
}

// pollLapsed polls the status URL about an attempt that has lapsed. It returns true if the server
// reports the outcome, and an error if the analysis is still running or if the state may be known later.
// In any other case it returns false: the attempt is considered lost.
func (d *Dispatcher) pollLapsed(ctx context.Context, e event.Lapsed, log event.Log) (settled bool, err error) {
	r, err := d.status(ctx, e.JobID, log)
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("analysis status unknown")
		seen, flagErr := d.StatusSeen.IsSet(ctx)
		if flagErr != nil || seen && fault.Is(err, fault.Unavailable) {
			return false, cmp.Or(flagErr, pollAgain(max(d.options.PollInterval, requestedPause(err))))
		}
		return false, nil
	}
	switch {
	case r == nil:
		return false, nil
	case r.status == statusProcessing:
		return false, &fault.Error{
			Kind: fault.Unavailable, Code: codeRunning, RetryAfter: d.options.PollInterval,
			Detail: "The analysis takes longer than expected and goes on.",
		}
	default:
		_, err = d.recordOutcome(ctx, e.JobID, e.Attempt, *r)
		return true, err
	}
}
