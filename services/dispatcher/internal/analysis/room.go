package analysis

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Slots bounds how many analyses run at once, over all replicas.
type Slots interface {
	// Take gives a job a slot, or finds the one that it has; false where all are held
	// by jobs that are not done.
	Take(ctx context.Context, job string, done func(ctx context.Context, holder string) (bool, error)) (bool, error)
	// Release frees the slot of a job that does not go on for now.
	Release(ctx context.Context, job string) error
}

// The times of waiting for a slot. A request that waits looks from time to time whether
// one has become free, in its place among those of its process, and is then put off, so
// that its job can be told.
const (
	roomEvery    = 500 * time.Millisecond
	roomPatience = 15 * time.Second
)

// holdsSlot reports whether a job still counts as one that runs: until it has ended,
// whatever becomes of its attempts.
func holdsSlot(log event.Log) bool {
	_, ended := log.Ending()
	return len(log) > 0 && !ended
}

// takeRoom waits for one of the slots where their number is bounded.
func (c *Core) takeRoom(ctx context.Context, job string) error {
	if c.opt.Running == nil {
		return nil
	}
	over := time.After(roomPatience)
	select {
	case c.queue <- struct{}{}:
		defer func() { <-c.queue }()
	case <-over:
		return full()
	case <-ctx.Done():
		return full()
	}
	look := time.NewTicker(roomEvery)
	defer look.Stop()
	for {
		taken, err := c.opt.Running.Take(ctx, job, c.done)
		if taken || err != nil {
			return err
		}
		select {
		case <-look.C:
		case <-over:
			return full()
		case <-ctx.Done():
			return full()
		}
	}
}

// done reports whether the holder of a slot needs it no more.
func (c *Core) done(ctx context.Context, job string) (bool, error) {
	log, err := c.journal.Log(ctx, job)
	return !holdsSlot(log), err
}

// leaveRoom gives a slot back that the attempt does not need for now. A request that is
// cut short, since this process stops, keeps it: the server may be at it.
func (c *Core) leaveRoom(ctx context.Context, job string) {
	if c.opt.Running == nil || ctx.Err() != nil {
		return
	}
	if err := c.opt.Running.Release(ctx, job); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("slot not released")
	}
}

func full() error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "analysis-full", RetryAfter: time.Second, Told: true,
		Detail: "As many analyses run as may.",
	}
}
