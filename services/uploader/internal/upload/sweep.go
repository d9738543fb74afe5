package upload

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
)

// Entries lists what lies in staging.
type Entries interface {
	StagedEntries(ctx context.Context) (map[string]int, error)
}

// Sweeper removes from staging what no job needs any more: bytes of uploads that
// a crash kept from being accepted, and entries whose removal a crash kept from
// happening.
type Sweeper struct {
	core     *Core
	entries  Entries
	interval time.Duration
	age      time.Duration
	log      zerolog.Logger
}

// NewSweeper makes a sweeper that looks every interval for entries older than
// age, which must be longer than any upload may take.
func NewSweeper(core *Core, entries Entries, interval, age time.Duration, log zerolog.Logger) *Sweeper {
	return &Sweeper{core: core, entries: entries, interval: interval, age: age, log: log}
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		removed, err := s.Sweep(ctx, time.Now())
		if err != nil && ctx.Err() == nil {
			s.log.Warn().Err(err).Msg("sweep interrupted")
		} else if removed > 0 {
			s.log.Info().Int("removed", removed).Msg("staging swept")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Sweep removes what is not needed at the given time and tells how many entries
// that were.
func (s *Sweeper) Sweep(ctx context.Context, now time.Time) (removed int, err error) {
	entries, err := s.entries.StagedEntries(ctx)
	if err != nil {
		return 0, err
	}
	for entry := range entries {
		job, began, ok := event.EntryJob(entry)
		if !ok || now.Sub(began) < s.age {
			continue
		}
		log, err := s.core.journal.Log(ctx, job)
		if err != nil {
			return removed, err
		}
		if needed(entry, log) {
			continue
		}
		if err := s.core.staging.Unstage(ctx, entry); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// needed reports whether a job still needs an entry: the upload that it names
// until it is stored or has ended; its result as long as it ended with that one, since only
// the tracker knows when it has it. An erased job needs nothing.
func needed(entry string, log event.Log) bool {
	if log.Erased() {
		return false
	}
	if event.HoldsUpload(entry) {
		received, ok := event.Last[event.Received](log)
		return len(log) > 0 && !settled(log) && (!ok || received.Staged().Entry == entry)
	}
	completed, ok := event.Last[event.Completed](log)
	if ok {
		return completed.ResultEntry == entry
	}
	_, ended := log.Ending()
	return len(log) > 0 && !ended
}
