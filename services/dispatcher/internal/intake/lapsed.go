package intake

import (
	"context"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Lapsed sees to an attempt that was not reported on in its time.
func Lapsed(core *analysis.Dispatcher) func(context.Context, bus.Delivery) error {
	return func(ctx context.Context, d bus.Delivery) error {
		lapsed, ok := d.Event.(event.Lapsed)
		if !ok {
			return unexpected(d)
		}
		return core.HandleLapsed(ctx, lapsed, d.Backoff)
	}
}
