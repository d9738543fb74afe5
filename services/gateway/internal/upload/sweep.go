package upload

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

// ExpiredKeys are the keys that were kept for long enough.
type ExpiredKeys interface {
	// DropExpiredKeys forgets them and tells how many there were.
	DropExpiredKeys(ctx context.Context) (int64, error)
}

// Sweeper forgets expired keys. They mean nothing any more, but take up space.
type Sweeper struct {
	keys     ExpiredKeys
	interval time.Duration
	log      zerolog.Logger
}

// NewSweeper makes a sweeper that looks every interval.
func NewSweeper(keys ExpiredKeys, interval time.Duration, log zerolog.Logger) *Sweeper {
	return &Sweeper{keys: keys, interval: interval, log: log}
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		removed, err := s.keys.DropExpiredKeys(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn().Err(err).Msg("sweep interrupted")
		} else if removed > 0 {
			s.log.Info().Int64("removed", removed).Msg("expired keys swept")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
