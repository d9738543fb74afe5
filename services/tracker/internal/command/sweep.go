package command

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/wait"
)

// sweepRepeatedly calls sweep until ctx ends. The random interval spreads the sweeps of replicas
// that started at the same time.
func sweepRepeatedly(ctx context.Context, interval time.Duration, log zerolog.Logger, sweep func(context.Context, time.Time) error) error {
	return wait.Repeat(ctx, func(ctx context.Context) time.Duration {
		if err := sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			log.Warn().Err(err).Msg("sweep interrupted")
		}
		return wait.Jitter(interval)
	})
}

// sweepPage is the largest number of candidates that are read at a time.
const sweepPage = 500

// sweepPages calls handle for each candidate until none is left or ctx ends. The function next
// returns at most sweepPage candidates, which follow the last candidate that was handled. If handle
// fails for a candidate, sweepPages continues with the others.
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
