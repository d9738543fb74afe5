package direct

import (
	"context"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/wait"
)

const (
	formInterval = time.Second
	formPause    = 15 * time.Second // delay after the records or the bucket could not be read
)

// isDue reports whether the uploader looks for the object of a form in a round. There is a round
// every formInterval. A new form is due in each round, since a client may wait for the job. Many
// forms never get an object, so older forms are due less often: at intervals between a twentieth
// and a tenth of their age.
func isDue(age time.Duration, round uint) bool {
	pause := uint(1) << max(0, bits.Len64(uint64(age/(10*formInterval)))-1) // in rounds: a power of two
	return round%pause == 0
}

// Watcher begins the jobs of forms when their objects arrive.
type Watcher struct {
	core  *Core
	log   zerolog.Logger
	round uint
}

// NewWatcher makes a Watcher.
func NewWatcher(c *Core, log zerolog.Logger) *Watcher { return &Watcher{core: c, log: log} }

// Run looks for objects until ctx ends. It runs in every replica. Each job begins only once, since
// only one replica can append the event `received`.
func (w *Watcher) Run(ctx context.Context) error {
	return wait.Repeat(ctx, func(ctx context.Context) time.Duration {
		w.round++
		_, err := w.core.Arrived(ctx, func(u Upload) bool { return isDue(time.Since(u.Created), w.round) })
		if err != nil && ctx.Err() == nil {
			w.log.Warn().Err(err).Msg("arrived uploads not looked for")
			return formPause
		}
		return formInterval
	})
}

// Sweeper removes the uploads that were not completed in time.
type Sweeper struct {
	core     *Core
	interval time.Duration
	log      zerolog.Logger
	open     atomic.Int64 // number of unfinished multipart uploads at the last sweep
	bytes    atomic.Int64 // total size of their parts, in bytes
}

// NewSweeper makes a Sweeper. interval is the time between two sweeps.
func NewSweeper(c *Core, interval time.Duration, log zerolog.Logger) *Sweeper {
	return &Sweeper{core: c, interval: interval, log: log}
}

// Open returns the number of unfinished multipart uploads, as of the last sweep.
func (s *Sweeper) Open() float64 { return float64(s.open.Load()) }

// Bytes returns the total size of the parts of unfinished multipart uploads, as of the last sweep.
func (s *Sweeper) Bytes() float64 { return float64(s.bytes.Load()) }

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	return wait.Repeat(ctx, func(ctx context.Context) time.Duration {
		removed, err := s.Sweep(ctx, time.Now())
		if err != nil && ctx.Err() == nil {
			s.log.Warn().Err(err).Msg("sweep of uploads interrupted")
		} else if removed > 0 {
			s.log.Info().Int("removed", removed).Msg("unfinished uploads removed")
		}
		return s.interval
	})
}

// Sweep removes the uploads that have expired at the time now, and returns their number. It also
// aborts expired multipart uploads in the bucket that have no record, because the process died
// before it stored the record, or because the record was lost. If an upload cannot be removed, Sweep
// still removes the others, but it ends after too many failures.
func (s *Sweeper) Sweep(ctx context.Context, now time.Time) (removed int, err error) {
	var done upload.Removals
	expired := func(begun time.Time) bool { return now.Sub(begun) >= s.core.options.Expiry }
	for _, way := range []event.UploadWay{event.WayForm, event.WayMultipart, event.WayTus, event.WaySpent} {
		uploads, err := s.core.Records.All(ctx, way)
		if err != nil {
			return done.Result(err)
		}
		for _, u := range uploads {
			if !expired(u.Created) {
				continue
			}
			if err := done.Add(s.core.expire(ctx, u)); err != nil {
				return done.Result(err)
			}
		}
	}
	var open, bytes int64
	err = s.core.Bucket.Unfinished(ctx, func(u Unfinished) (err error) {
		if expired(u.Begun) {
			if err = s.core.Bucket.AbortParts(ctx, u.Key, u.S3ID); err == nil || fault.Is(err, fault.NotFound) {
				return done.Add(nil)
			}
			err = done.Add(err)
		}
		open++
		bytes += u.Size
		return err
	})
	if err == nil {
		s.open.Store(open)
		s.bytes.Store(bytes)
	}
	return done.Result(err)
}

// expire removes an expired upload. A form whose object is in the bucket becomes a job instead.
func (c *Core) expire(ctx context.Context, u Upload) error {
	if u.Way() == event.WayForm {
		if arrived, err := c.arrive(ctx, u); arrived || err != nil {
			return err
		}
	}
	return c.Discard(ctx, u)
}
