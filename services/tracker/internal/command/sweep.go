package command

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/wait"
)

// sweepRepeatedly sweeps until ctx ends. The random interval spreads the sweeps of replicas that
// started at the same time.
func sweepRepeatedly(ctx context.Context, interval time.Duration, log zerolog.Logger, sweep func(context.Context, time.Time) error) error {
	return wait.Repeat(ctx, func(ctx context.Context) time.Duration {
		if err := sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			log.Warn().Err(err).Msg("sweep interrupted")
		}
		return wait.Jitter(interval)
	})
}

// sweepPage is the number of candidates that are read at once.
const sweepPage = 500

// sweepPages handles all candidates, one after the other, until ctx ends. The function next returns
// at most sweepPage candidates, beginning after the last one that was handled. A candidate that
// cannot be handled does not delay the others.
func sweepPages[C any](ctx context.Context, next func(ctx context.Context, after C) ([]C, error), handle func(context.Context, C) error) error {
	var failures []error
	var last C
	for {
		page, err := next(ctx, last)
		if err != nil {
			return errors.Join(append(failures, err)...)
		}
		for _, c := range page {
			if ctx.Err() != nil {
				return errors.Join(failures...)
			}
			if err := handle(ctx, c); err != nil {
				failures = append(failures, err)
			}
			last = c
		}
		if len(page) < sweepPage || len(failures) >= sweepPage {
			return errors.Join(failures...)
		}
	}
}
