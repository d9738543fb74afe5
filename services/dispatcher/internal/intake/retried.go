package intake

import (
	"context"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Retried asks the analysis server once more.
func Retried(core *analysis.Core) func(context.Context, bus.Delivery) error {
	return func(ctx context.Context, d bus.Delivery) error {
		retried, ok := d.Event.(event.Retried)
		if !ok {
			return unexpected(d)
		}
		return core.Redispatch(ctx, retried, d.Backoff)
	}
}
