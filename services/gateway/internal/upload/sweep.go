package upload

import (
	"context"
	"time"

	"github.com/rs/zerolog"
	"sori.internal/shared/wait"
)

// ExpiredKeys deletes the idempotency keys whose retention has ended.
type ExpiredKeys interface {
	// DeleteExpiredKeys deletes the keys and returns their number.
	DeleteExpiredKeys(ctx context.Context) (int64, error)
}

// Sweeper deletes expired keys, so that they use no space.
type Sweeper struct {
	keys     ExpiredKeys
	interval time.Duration
	log      zerolog.Logger
}

// NewSweeper makes a sweeper that runs every interval.
func NewSweeper(keys ExpiredKeys, interval time.Duration, log zerolog.Logger) *Sweeper {
	return &Sweeper{keys: keys, interval: interval, log: log}
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	return wait.Repeat(ctx, func(ctx context.Context) time.Duration {
		deleted, err := s.keys.DeleteExpiredKeys(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn().Err(err).Msg("expired keys not deleted")
		} else if deleted > 0 {
			s.log.Info().Int64("deleted", deleted).Msg("expired keys deleted")
		}
		return s.interval
	})
}
