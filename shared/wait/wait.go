// Package wait has pauses that a context can end, and loops that use them.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for a duration. If ctx ends earlier, it returns the error of ctx.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Jitter returns a random duration between d/2 and d. It spreads actions of several replicas that
// would otherwise coincide.
func Jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// Repeat calls f, waits for the duration that f returned, and starts over, until ctx ends. It
// always returns nil, so that it can be the body of a component's Run.
func Repeat(ctx context.Context, f func(context.Context) time.Duration) error {
	return RepeatOrWake(ctx, nil, f)
}

// RepeatOrWake is Repeat, except that a value from wake ends a pause early.
func RepeatOrWake(ctx context.Context, wake <-chan struct{}, f func(context.Context) time.Duration) error {
	for ended := false; !ended; {
		timer := time.NewTimer(f(ctx))
		select {
		case <-timer.C:
		case <-wake:
		case <-ctx.Done():
			ended = true
		}
		timer.Stop()
	}
	return nil
}

// InBackground calls f at each interval, in a goroutine, until ctx ends or stop is called. stop
// waits until the last call of f has returned.
func InBackground(ctx context.Context, interval time.Duration, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				f(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}
