package intake

import (
	"context"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Retried asks the analysis server once more.
func Retried(core *analysis.Dispatcher) func(context.Context, bus.Delivery) error {
	return func(ctx context.Context, d bus.Delivery) error {
		retried, ok := d.Event.(event.Retried)
		if !ok {
			return unexpected(d)
		}
		return core.HandleRetried(ctx, retried, d.Backoff)
	}
}
