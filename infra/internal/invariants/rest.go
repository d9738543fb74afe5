package invariants

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/staging"
)

// lookAgain is the interval between two checks in retry.
const lookAgain = 50 * time.Millisecond

// retry calls check until that succeeds, until it returns an error for which the function passes returns false, or until
// ctx ends.
func retry(ctx context.Context, check func() error, passes func(error) bool) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		err := check()
		if err == nil || !passes(err) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// Await calls check until that succeeds. After the given limit it returns the last error of check.
func Await(ctx context.Context, limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return retry(ctx, check, func(error) bool { return true })
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

// Idle returns an error if a durable consumer of the job log has events to handle.
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

// sweptIn is how long to wait until the sweep of an idle uploader has emptied staging.
const sweptIn = time.Minute

// Restarter is a process that can be restarted with other settings.
type Restarter interface {
	Setenv(name, value string)
	Restart(ctx context.Context) error
}

// AwaitStagingEmpty restarts an uploader with settings with which it sweeps at once, and waits until
// staging is empty. No upload may be under way.
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
