package upload

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/wait"
)

// StagingEntries has the methods of staging that the Sweeper needs.
type StagingEntries interface {
	// Entries lists the entries, with the number of chunks of each.
	Entries(ctx context.Context) (map[string]int, error)
	Delete(ctx context.Context, entry string) error
}

// SweeperDependencies has the dependencies of a Sweeper.
type SweeperDependencies struct {
	Jobs    LogReader
	Staging StagingEntries
	Log     zerolog.Logger
}

// SweeperOptions has the settings of the operator.
type SweeperOptions struct {
	Interval time.Duration // time between two sweeps
	MinAge   time.Duration // smallest age of an entry that is removed; longer than an upload may take
}

// Sweeper removes staging entries that no job needs: those of uploads that were not accepted, and
// those that a process has left behind when it died.
type Sweeper struct {
	SweeperDependencies
	options SweeperOptions
}

// NewSweeper makes a Sweeper.
func NewSweeper(deps SweeperDependencies, options SweeperOptions) *Sweeper {
	return &Sweeper{SweeperDependencies: deps, options: options}
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	return wait.Repeat(ctx, func(ctx context.Context) time.Duration {
		removed, err := s.Sweep(ctx, time.Now())
		if err != nil && ctx.Err() == nil {
			s.Log.Warn().Err(err).Msg("sweep interrupted")
		} else if removed > 0 {
			s.Log.Info().Int("removed", removed).Msg("staging swept")
		}
		return s.options.Interval
	})
}

// Sweep removes the entries that no job needs and whose age at the time now is at least MinAge. It
// returns the number of removed entries.
func (s *Sweeper) Sweep(ctx context.Context, now time.Time) (removed int, err error) {
	entries, err := s.Staging.Entries(ctx)
	if err != nil {
		return 0, err
	}
	for entry := range entries {
		job, began, ok := event.ParseEntry(entry)
		if !ok || now.Sub(began) < s.options.MinAge {
			continue
		}
		log, err := s.Jobs.Read(ctx, job)
		if err != nil {
			return removed, err
		}
		if needsEntry(log, entry) {
			continue
		}
		if err := s.Staging.Delete(ctx, entry); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
