package intake

import (
	"context"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Dispatched watches an attempt that the analysis server has taken.
func Dispatched(core *analysis.Dispatcher) func(context.Context, bus.Delivery) error {
	return func(ctx context.Context, d bus.Delivery) error {
		dispatched, ok := d.Event.(event.Dispatched)
		if !ok {
			return unexpected(d)
		}
		return core.HandleDispatched(ctx, dispatched, d.Backoff)
	}
}

// Refused asks how an attempt stands whose outcome may have been refused.
func Refused(core *analysis.Dispatcher) func(context.Context, bus.Delivery) error {
	return func(ctx context.Context, d bus.Delivery) error {
		refused, ok := d.Event.(event.Refused)
		if !ok {
			return unexpected(d)
		}
		return core.HandleRefused(ctx, refused, d.Backoff)
	}
}
