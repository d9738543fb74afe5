// Package intake takes events off the bus and hands them to the core.
package intake

import (
	"context"
	"fmt"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Stored asks the analysis server to look at a recording.
func Stored(core *analysis.Dispatcher) func(context.Context, bus.Delivery) error {
	return func(ctx context.Context, d bus.Delivery) error {
		stored, ok := d.Event.(event.Stored)
		if !ok {
			return unexpected(d)
		}
		return core.HandleStored(ctx, stored, d.Seq, d.Backoff)
	}
}

func unexpected(d bus.Delivery) error {
	return fault.New(fault.Invalid, "unexpected-event", fmt.Sprintf("The dispatcher does not take %s.", d.Event.Name()))
}

// GiveUp fails the job of a message that no retry can mend.
func GiveUp(core *analysis.Dispatcher) func(context.Context, bus.Delivery, *fault.Error) error {
	return func(ctx context.Context, d bus.Delivery, f *fault.Error) error {
		return core.Fail(ctx, d.Job, f)
	}
}
