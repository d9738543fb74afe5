package consumers

import (
	"context"

	"sori.internal/services/tracker/internal/command"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// TokenDeleted returns the handler that erases the jobs of a deleted token.
func TokenDeleted(eraser *command.Eraser) func(context.Context, bus.Delivery) error {
	return bus.On(func(ctx context.Context, e event.TokenDeleted, d bus.Delivery) error {
		return eraser.DeleteToken(ctx, e.TokenID, d.Time)
	})
}
