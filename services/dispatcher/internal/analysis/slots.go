package analysis

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/fault"
	"sori.internal/shared/wait"
)

// Slots limits the number of concurrent analyses of all replicas.
type Slots interface {
	// Take assigns a slot to a job, or finds the slot that the job already has. It returns false if
	// all slots belong to jobs for which done returns false.
	Take(ctx context.Context, job string, done func(ctx context.Context, holder string) (bool, error)) (bool, error)
	// Release frees the slot of a job that is not running for now.
	Release(ctx context.Context, job string) error
}

// The attempts of a process wait for a slot one after the other: the first checks every
// slotInterval whether a slot is free. After slotTimeout an attempt is delayed, and its job shows
// that it waits.
const (
	slotInterval = 500 * time.Millisecond
	slotTimeout  = 15 * time.Second
)

// takeSlot waits for a slot if the number of slots is limited.
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

// slotDone reports whether the job that has a slot no longer needs it.
func (d *Dispatcher) slotDone(ctx context.Context, job string) (bool, error) {
	log, err := d.Jobs.Read(ctx, job)
	return !active(log), err
}

// releaseSlot frees the slot of a job whose attempt is delayed. If the request was aborted because
// this process stops, the job keeps its slot: the server may be working on it.
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
