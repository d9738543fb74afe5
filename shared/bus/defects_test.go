package bus_test

import (
	"context"
	"testing"
	"time"

	"sori.internal/shared/bus"
	"sori.internal/shared/fault"
)

func TestASingleDefectAfterALongWaitMakesNoDeadLetter(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	soon := func(kind fault.Kind) error { return &fault.Error{Kind: kind, Code: "c", RetryAfter: time.Millisecond} }
	rejected := make(chan uint64, 1)
	waiting := k.Receive(b)
	k.Start(func(ctx context.Context) error {
		c := consumer("waiting", func(_ context.Context, d bus.Delivery) error {
			switch {
			case d.Job == waiting && d.Attempt == 13:
				return nil
			case d.Job == waiting && d.Attempt != 12:
				return soon(fault.Unavailable)
			default:
				return soon(fault.Internal)
			}
		})
		c.FixedDelay = true
		c.OnDeadLetter = func(_ context.Context, d bus.Delivery, _ *fault.Error) error {
			if d.Job == waiting {
				t.Error("a single defect makes a dead letter")
			}
			rejected <- d.Attempt
			return nil
		}
		return b.Consume(ctx, c)
	})
	k.Settled("waiting")
	k.Receive(b) // its handler always fails
	if attempt := <-rejected; attempt != 10 {
		t.Errorf("a dead letter with delivery %d", attempt)
	}
}
