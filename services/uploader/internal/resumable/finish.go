package resumable

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/fault"
	"sori.internal/shared/wait"
)

// Finisher begins the jobs of uploads whose bytes have all arrived, but whose job could not begin
// at that time. It is needed if the client does not repeat its request.
type Finisher struct {
	core     *Core
	interval time.Duration
	log      zerolog.Logger
}

// NewFinisher makes a Finisher. interval is the time between two runs.
func NewFinisher(c *Core, interval time.Duration, log zerolog.Logger) *Finisher {
	return &Finisher{core: c, interval: interval, log: log}
}

// Run finishes uploads until ctx ends.
func (f *Finisher) Run(ctx context.Context) error {
	return wait.Repeat(ctx, func(ctx context.Context) time.Duration {
		if err := f.core.FinishAll(ctx); err != nil && ctx.Err() == nil {
			f.log.Warn().Err(err).Msg("complete uploads not finished")
		}
		return f.interval
	})
}

// FinishAll finishes all uploads whose bytes have all arrived, except partial and empty uploads. If
// it fails for an upload and a retry may help, it continues with the other uploads, and returns the
// first such error afterwards.
func (c *Core) FinishAll(ctx context.Context) error {
	all, err := c.Records.Resumable(ctx)
	if err != nil {
		return err
	}
	var first error
	for _, u := range all {
		if u.Partial || !u.Complete() || u.Length == 0 {
			continue
		}
		s, err := c.Find(ctx, u.Owner, u.JobID)
		if err == nil {
			err = c.Finish(ctx, s)
		}
		if ctx.Err() != nil {
			return cmp.Or(first, err)
		}
		if err != nil && fault.KindOf(err).Retryable() { // after any other error the upload was removed, or another call has finished it
			first = cmp.Or(first, fmt.Errorf("upload %s: %w", u.JobID, err))
		}
	}
	return first
}
