// Package intake takes events off the bus and hands them to the core.
package intake

import (
	"context"
	"fmt"

	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Received copies an accepted upload into the bucket.
func Received(core *upload.Core) func(context.Context, bus.Delivery) error {
	return func(ctx context.Context, d bus.Delivery) error {
		received, ok := d.Event.(event.Received)
		if !ok {
			return unexpected(d)
		}
		return core.Store(ctx, received)
	}
}

func unexpected(d bus.Delivery) error {
	return fault.New(fault.Invalid, "unexpected-event", fmt.Sprintf("The uploader does not take %s.", d.Event.Name()))
}

// GiveUp fails the job of a message that no retry can mend.
func GiveUp(core *upload.Core) func(context.Context, bus.Delivery, *fault.Error) error {
	return func(ctx context.Context, d bus.Delivery, f *fault.Error) error {
		return core.Fail(ctx, d.Job, f.Code, f.Detail)
	}
}
