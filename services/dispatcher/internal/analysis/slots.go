package analysis

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/fault"
	"sori.internal/shared/wait"
)

// Slots limits how many analyses run at once, over all replicas.
type Slots interface {
	// Take gives a job a slot, or finds the one that it has; false if all are held by jobs that are not
	// done.
	Take(ctx context.Context, job string, done func(ctx context.Context, holder string) (bool, error)) (bool, error)
	// Release frees the slot of a job that does not run for now.
	Release(ctx context.Context, job string) error
}

// The attempts of a process wait for a slot one after the other: the first checks every slotInterval
// whether one is free. After slotTimeout an attempt is delayed, and its job says that it waits.
const (
	slotInterval = 500 * time.Millisecond
	slotTimeout  = 15 * time.Second
)

// takeSlot waits for a slot if their number is limited.
func (d *Dispatcher) takeSlot(ctx context.Context, job string) error {
	if d.Slots == nil {
		return nil
	}
	waitCtx, cancel := context.WithTimeout(ctx, slotTimeout)
	defer cancel()
	select {
	case d.slotQueue <- struct{}{}:
		defer func() { <-d.slotQueue }()
	case <-waitCtx.Done():
		return errNoSlot()
	}
	for {
		taken, err := d.Slots.Take(ctx, job, d.slotDone)
		if taken || err != nil {
			return err
		}
		if wait.For(waitCtx, slotInterval) != nil {
			return errNoSlot()
		}
	}
}

// slotDone reports whether the job that holds a slot needs it no more.
func (d *Dispatcher) slotDone(ctx context.Context, job string) (bool, error) {
	log, err := d.Jobs.Read(ctx, job)
	return !active(log), err
}

// releaseSlot frees the slot of a job whose attempt is delayed. A request that is cut off since this
// process stops keeps its slot: the server may work on it.
func (d *Dispatcher) releaseSlot(ctx context.Context, job string) {
	if d.Slots == nil || ctx.Err() != nil {
		return
	}
	if err := d.Slots.Release(ctx, job); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("slot not released")
	}
}

func errNoSlot() error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "analysis-full", RetryAfter: time.Second, Logged: true,
		Detail: "As many analyses run as may.",
	}
}
