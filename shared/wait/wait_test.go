package wait_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sori.internal/shared/wait"
)

func TestAPauseEndsAfterItsTimeOrWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := wait.For(t.Context(), time.Minute); err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if err := wait.For(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestALoopWaitsAsItsFunctionSaysAndEndsWithoutAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		var calls []time.Duration
		err := wait.Repeat(ctx, func(context.Context) time.Duration {
			calls = append(calls, time.Since(start))
			if len(calls) == 3 {
				cancel()
			}
			return time.Duration(len(calls)) * time.Second
		})
		if want := []time.Duration{0, time.Second, 3 * time.Second}; err != nil || !slices.Equal(calls, want) {
			t.Errorf("called at %v: %v", calls, err)
		}
	})
}

func TestAWakeEndsAPauseOfALoopEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start, wake := time.Now(), make(chan struct{}, 1)
		var calls []time.Duration
		err := wait.RepeatOrWake(ctx, wake, func(context.Context) time.Duration {
			calls = append(calls, time.Since(start))
			switch len(calls) {
			case 1:
				time.AfterFunc(time.Second, func() { wake <- struct{}{} })
			case 3:
				cancel()
			}
			return time.Minute
		})
		if want := []time.Duration{0, time.Second, time.Minute + time.Second}; err != nil || !slices.Equal(calls, want) {
			t.Errorf("called at %v: %v", calls, err)
		}
	})
}

func TestStoppingABackgroundLoopWaitsForItsLastCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var begun, finished atomic.Int32
		stop := wait.InBackground(t.Context(), time.Minute, func(context.Context) {
			begun.Add(1)
			_ = wait.For(t.Context(), time.Second) // stop does not cancel a call that has begun
			finished.Add(1)
		})
		if err := wait.For(t.Context(), 2*time.Minute+time.Second/2); err != nil || begun.Load() != 2 || finished.Load() != 1 {
			t.Errorf("%d begun, %d finished: %v", begun.Load(), finished.Load(), err)
		}
		stop()
		if finished.Load() != 2 {
			t.Error("the last call was not awaited")
		}
		if err := wait.For(t.Context(), time.Hour); err != nil || begun.Load() != 2 {
			t.Errorf("%d calls after the stop: %v", begun.Load(), err)
		}
	})
}

func TestJitterStaysBetweenHalfAndAll(t *testing.T) {
	t.Parallel()
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		d := wait.Jitter(time.Second)
		low, high = min(low, d), max(high, d)
	}
	if low < time.Second/2 || high > time.Second || high-low < time.Second/4 {
		t.Errorf("from %v to %v", low, high)
	}
	if d := wait.Jitter(0); d != 0 {
		t.Errorf("of nothing: %v", d)
	}
}
