package intake

import (
	"context"

	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Erased removes what there is of an erased job.
func Erased(core *upload.Eraser) func(context.Context, bus.Delivery) error {
	return func(ctx context.Context, d bus.Delivery) error {
		erased, ok := d.Event.(event.Erased)
		if !ok {
			return unexpected(d)
		}
		return core.Erase(ctx, erased, d.Seq)
	}
}
