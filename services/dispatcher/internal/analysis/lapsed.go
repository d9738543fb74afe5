package analysis

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// HandleLapsed decides about an attempt that the server did not report on before its deadline. The
// status URL is asked, if there is one: an outcome counts as if it came by a callback, and a running
// analysis is waited for until the job's deadline. Otherwise the next attempt is sent or, after the
// last, the job fails.
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

// pollLapsed polls an attempt that lapsed. It returns true if the server reports its outcome, and an
// error if the analysis goes on. If the server cannot be asked or says neither, the attempt is lost.
func (d *Dispatcher) pollLapsed(ctx context.Context, e event.Lapsed, log event.Log) (settled bool, err error) {
	r, err := d.status(ctx, e.JobID, log)
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("analysis status unknown")
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
