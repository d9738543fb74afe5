package upload

import (
	"context"
	"errors"
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
// returns the number of removed entries. If an entry cannot be removed, Sweep still removes the others,
// but it ends after too many failures.
func (s *Sweeper) Sweep(ctx context.Context, now time.Time) (removed int, err error) {
	entries, err := s.Staging.Entries(ctx)
	if err != nil {
		return 0, err
	}
	var done Removals
	for entry := range entries {
		job, began, ok := event.ParseEntry(entry)
		if !ok || now.Sub(began) < s.options.MinAge {
			continue
		}
		log, err := s.Jobs.Read(ctx, job)
		if err == nil {
			if needsEntry(log, entry) {
				continue
			}
			err = s.Staging.Delete(ctx, entry)
		}
		if err := done.Add(err); err != nil {
			return done.Result(err)
		}
	}
	return done.Result(nil)
}

// maxFailures is the number of failures after which a sweep ends, since what it needs is probably
// unavailable.
const maxFailures = 10

// Removals counts what a sweep removes. The sweep continues after a failure, so that one thing that
// cannot be removed does not keep all others. The zero Removals is ready to use.
type Removals struct {
	removed  int
	failures []error
}

// Add counts a removal or, if err is not nil, its failure. It returns an error if the sweep must
// end.
func (r *Removals) Add(err error) error {
	if err == nil {
		r.removed++
		return nil
	}
	r.failures = append(r.failures, err)
	if len(r.failures) < maxFailures {
		return nil
	}
	return errTooManyFailures
}

var errTooManyFailures = errors.New("too many failures")

// Result returns the number of removals, and the failures together with err, the error that ended
// the sweep, if any.
func (r *Removals) Result(err error) (int, error) {
	return r.removed, errors.Join(append(r.failures, err)...)
}
