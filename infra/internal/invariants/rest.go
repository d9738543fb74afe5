package invariants

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/staging"
)

// Await calls check until it succeeds, at most for so long, and returns its last error.
func Await(ctx context.Context, limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// NoDeadLetters returns an error if there are dead letters.
func (c Checker) NoDeadLetters(ctx context.Context) error {
	stream, err := c.JetStream.Stream(ctx, c.Namespace.Stream(event.Dead().Name))
	if err != nil {
		return fmt.Errorf("look for dead letters: %w", err)
	}
	if n := stream.CachedInfo().State.Msgs; n > 0 {
		return fmt.Errorf("%d dead letters", n)
	}
	return nil
}

// Idle returns an error if a consumer has events to handle.
func (c Checker) Idle(ctx context.Context) error {
	stream, err := c.JetStream.Stream(ctx, c.Namespace.Stream(event.Jobs().Name))
	if err != nil {
		return fmt.Errorf("look at the consumers: %w", err)
	}
	var busy []error
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if left := info.NumPending + uint64(info.NumAckPending); left > 0 && info.Config.Durable != "" {
			busy = append(busy, fmt.Errorf("%s has %d events", info.Name, left))
		}
	}
	return errors.Join(append(busy, list.Err())...)
}

// sweptIn bounds how long the sweep of an idle uploader may take.
const sweptIn = time.Minute

// Restarter is a process that can be restarted with other settings.
type Restarter interface {
	Setenv(name, value string)
	Restart(ctx context.Context) error
}

// AwaitStagingEmpty restarts an uploader so that it sweeps at once, and waits until staging is empty.
// No upload may be under way.
func (c Checker) AwaitStagingEmpty(ctx context.Context, uploader Restarter) error {
	uploader.Setenv("SWEEP_AGE", "1ms")
	uploader.Setenv("SWEEP_INTERVAL", "50ms")
	if err := uploader.Restart(ctx); err != nil {
		return err
	}
	return Await(ctx, sweptIn, func() error {
		entries, err := staging.New(c.Bus).Entries(ctx)
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("staging holds %v", entries)
		}
		return err
	})
}
