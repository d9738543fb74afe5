package analysis

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Lapse sees to an attempt that the server took and did not report on in its
// time. Where the server tells how it stands, that counts as its callback would;
// an analysis that goes on is asked for again later, until the job's deadline
// ends it. Else the next attempt is made, or, after the last, the job fails.
func (c *Core) Lapse(ctx context.Context, l event.Lapsed, backoff time.Duration) error {
	log, err := c.journal.Log(ctx, l.JobID)
	if err != nil {
		return err
	}
	retried, _ := event.Last[event.Retried](log)
	if _, ended := log.Ending(); ended || len(log) == 0 || retried.Attempt > l.Attempt {
		return nil
	}
	if log.Attempt() == l.Attempt { // else the next attempt was begun, and may be unfinished
		settled, err := c.poll(ctx, l, log)
		if settled || err != nil {
			return err
		}
	}
	return c.next(ctx, log, l.Attempt, backoff)
}

// poll asks the server how an attempt stands. It is settled where the server
// tells its outcome; an error says that it goes on. A server that cannot be asked,
// or whose answer says neither, leaves it open.
func (c *Core) poll(ctx context.Context, l event.Lapsed, log event.Log) (settled bool, err error) {
	r, err := c.standing(ctx, l.JobID, log)
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("analysis status unknown")
		return false, nil
	}
	switch {
	case r == nil:
		return false, nil
	case r.status == statusProcessing:
		return false, &fault.Error{
			Kind: fault.Unavailable, Code: codeRunning, RetryAfter: c.opt.PollEvery,
			Detail: "The analysis takes longer than expected and goes on.",
		}
	default:
		_, err = c.outcome(ctx, l.JobID, l.Attempt, *r)
		return true, err
	}
}
