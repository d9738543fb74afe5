package command

import (
	"context"
	"time"

	"github.com/rs/zerolog"
)

// Retention has how long the data of a job is kept after its end; 0: for ever.
type Retention struct {
	Result time.Duration // the whole job
}

// Ended is a job that has ended according to its record.
type Ended struct {
	JobID string
	Owner string
	At    time.Time
}

// EndedRows finds records of ended jobs.
type EndedRows interface {
	// Ended returns at most limit jobs that ended at the time before or earlier and are not erased,
	// in the order of At and id, beginning after the job in the parameter after.
	Ended(ctx context.Context, before time.Time, after Ended, limit int) ([]Ended, error)
}

// LogUsage returns the used part of the stream of logs, from 0 to 1.
type LogUsage func(ctx context.Context) (float64, error)

// RetentionSweeper erases jobs whose retention is over. Like Sweeper, it finds candidates in the
// records, and the log of each job decides, so that several replicas may sweep at once, and a retry
// during a sweep either succeeds or is refused.
type RetentionSweeper struct {
	rows    EndedRows
	eraser  *Eraser
	usage   LogUsage
	options RetentionOptions
}

// RetentionOptions are the settings of a RetentionSweeper.
type RetentionOptions struct {
	Retention Retention
	LogMaxAge time.Duration // how long the logs of jobs are kept
	Interval  time.Duration // the longest time between two sweeps
	Log       zerolog.Logger
}

// NewRetentionSweeper makes a sweeper.
func NewRetentionSweeper(eraser *Eraser, rows EndedRows, usage LogUsage, o RetentionOptions) *RetentionSweeper {
	return &RetentionSweeper{rows: rows, eraser: eraser, usage: usage, options: o}
}

// Run sweeps until ctx ends. It does nothing if everything is kept for ever.
func (s *RetentionSweeper) Run(ctx context.Context) error {
	if s.options.Retention == (Retention{}) {
		<-ctx.Done()
		return nil
	}
	return sweepRepeatedly(ctx, s.options.Interval, s.options.Log, s.Sweep)
}

// Sweep erases the jobs whose retention is over at the time now.
func (s *RetentionSweeper) Sweep(ctx context.Context, now time.Time) error {
	ctx = s.options.Log.WithContext(ctx)
	before := now.Add(-s.options.Retention.Result)
	return sweepPages(ctx, func(ctx context.Context, after Ended) ([]Ended, error) {
		after, err := s.withLog(ctx, after, now)
		if err != nil {
			return nil, err
		}
		return s.rows.Ended(ctx, before, after, sweepPage)
	}, func(ctx context.Context, ended Ended) error { return s.eraser.EraseEnded(ctx, ended, before) })
}

// crowded is the used part of the stream of logs from which on jobs without a log are not erased.
const crowded = 0.8

// withLog returns the job after which a page begins. The erasure of a job that still has its log
// frees room in the stream. The erasure of a job whose log has expired needs room: if the stream is
// crowded, such jobs wait, so that a backlog of old jobs does not displace uploads.
func (s *RetentionSweeper) withLog(ctx context.Context, after Ended, now time.Time) (Ended, error) {
	used, err := s.usage(ctx)
	if err != nil {
		return Ended{}, err
	}
	if oldest := now.Add(-s.options.LogMaxAge); used >= crowded && after.At.Before(oldest) {
		zerolog.Ctx(ctx).Warn().Float64("used", used).Msg("log crowded: old jobs are erased later")
		return Ended{At: oldest}, nil
	}
	return after, nil
}
