package command

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/logging"
)

// Ended is a job that has ended according to its record.
type Ended struct {
	JobID string
	Owner string
	At    time.Time
}

// EndedRows finds records of ended jobs.
type EndedRows interface {
	// Ended returns at most limit jobs that ended no later than the parameter before and are not
	// erased. They are sorted by At and id, and begin after the job in the parameter after.
	Ended(ctx context.Context, before time.Time, after Ended, limit int) ([]Ended, error)
	// EndedWithAudio is like Ended, but returns only jobs whose recording is stored and not
	// deleted.
	EndedWithAudio(ctx context.Context, before time.Time, after Ended, limit int) ([]Ended, error)
}

// LogUsage returns the used fraction of the stream of logs, from 0 to 1.
type LogUsage func(ctx context.Context) (float64, error)

// RetentionSweeper erases jobs whose retention has passed, and appends the event `expired` to the
// logs of jobs whose recording has passed its own retention, so that the uploader deletes the
// recording. Like Sweeper, it finds candidates in the records and checks the log of each, so that
// several replicas may sweep at the same time. A retry during a sweep either succeeds, and the job
// keeps its recording, or is refused.
type RetentionSweeper struct {
	rows    EndedRows
	decider *Decider
	eraser  *Eraser
	usage   LogUsage
	options RetentionOptions
}

// RetentionOptions are the settings of a RetentionSweeper.
type RetentionOptions struct {
	Retention job.Retention
	LogMaxAge time.Duration // how long events stay in the stream of logs
	Interval  time.Duration // longest time from the end of a sweep to the next
	Log       zerolog.Logger
}

// NewRetentionSweeper makes a sweeper.
func NewRetentionSweeper(eraser *Eraser, rows EndedRows, usage LogUsage, o RetentionOptions) *RetentionSweeper {
	return &RetentionSweeper{rows: rows, decider: eraser.decider, eraser: eraser, usage: usage, options: o}
}

// Run sweeps until ctx ends. It sweeps nothing if jobs and recordings are kept forever.
func (s *RetentionSweeper) Run(ctx context.Context) error {
	if s.options.Retention == (job.Retention{}) {
		<-ctx.Done()
		return nil
	}
	return sweepRepeatedly(ctx, s.options.Interval, s.options.Log, s.Sweep)
}

// Sweep erases the jobs whose retention has passed at the time now, and then expires the recordings
// whose retention has passed. While the stream of logs is nearly full, it postpones what needs room
// in the stream.
func (s *RetentionSweeper) Sweep(ctx context.Context, now time.Time) error {
	ctx = s.options.Log.WithContext(ctx)
	var failures []error
	if keep := s.options.Retention.Result; keep > 0 {
		failures = append(failures, s.eraseJobs(ctx, now, now.Add(-keep)))
	}
	if keep := s.options.Retention.Audio; keep > 0 {
		failures = append(failures, s.expireAudio(ctx, now.Add(-keep)))
	}
	return errors.Join(failures...)
}

// eraseJobs erases the jobs that ended no later than the parameter before.
func (s *RetentionSweeper) eraseJobs(ctx context.Context, now, before time.Time) error {
	return sweepPages(ctx, func(ctx context.Context, after Ended) ([]Ended, error) {
		after, err := s.withLog(ctx, after, now)
		if err != nil {
			return nil, err
		}
		return s.rows.Ended(ctx, before, after, sweepPage)
	}, func(ctx context.Context, ended Ended) error { return s.eraser.EraseEnded(ctx, ended, before) })
}

// expireAudio expires the recordings of jobs that ended no later than the parameter before. It
// stops while the stream of logs is crowded, since each expired event needs room.
func (s *RetentionSweeper) expireAudio(ctx context.Context, before time.Time) error {
	return sweepPages(ctx, func(ctx context.Context, after Ended) ([]Ended, error) {
		used, err := s.usage(ctx)
		if err != nil {
			return nil, err
		}
		if used >= crowded {
			zerolog.Ctx(ctx).Warn().Float64("used", used).Msg("log crowded: recordings are deleted later")
			return nil, nil
		}
		return s.rows.EndedWithAudio(ctx, before, after, sweepPage)
	}, func(ctx context.Context, ended Ended) error { return s.expire(ctx, ended.JobID, before) })
}

// expire appends the event `expired` to the log of a job, and records the event. If it appends
// nothing, because the log has newer events than the record, it updates the record.
func (s *RetentionSweeper) expire(ctx context.Context, id string, before time.Time) error {
	log, appended, err := s.decider.append(ctx, id, expiry(id, before))
	if err != nil {
		return err
	}
	if appended == nil {
		return s.decider.record(ctx, job.Entries(log))
	}
	zerolog.Ctx(ctx).Info().Str(logging.JobID, id).Msg("retention of a recording over")
	return s.decider.record(ctx, job.Entries(log[len(log)-1:]))
}

// expiry returns the rule that appends the event `expired` if the job ended no later than the
// parameter before. If the log has expired, the rule relies on the record, by which the job was
// selected, since such a job cannot be retried.
func expiry(id string, before time.Time) Rule {
	return func(log event.Log) (event.Event, error) {
		if log.Erased() || log.AudioExpired() || len(log) > 0 && !endedBy(log, before) {
			return nil, nil
		}
		return event.Expired{JobID: id}, nil
	}
}

// crowded is the fraction of the stream of logs that may be used before the retention appends
// nothing more that needs room in the stream.
const crowded = 0.8

// withLog returns the job after which the next page of jobs begins. Erasing a job that still has
// its log frees room in the stream. Erasing a job whose log has expired needs room. Therefore
// withLog skips these jobs while the stream is crowded, so that a backlog of old jobs does not
// displace uploads.
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
