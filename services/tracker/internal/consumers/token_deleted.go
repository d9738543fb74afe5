package consumers

import (
	"context"
	"fmt"

	"sori.internal/services/tracker/internal/command"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// TokenDeleted erases the jobs of a deleted token.
func TokenDeleted(eraser *command.Eraser) func(context.Context, bus.Delivery) error {
	return func(ctx context.Context, d bus.Delivery) error {
		deleted, ok := d.Event.(event.TokenDeleted)
		if !ok {
			return fault.New(fault.Invalid, "unexpected-event", fmt.Sprintf("This is no place for %s.", d.Event.Name()))
		}
		return eraser.DeleteToken(ctx, deleted.TokenID, d.Time)
	}
}
