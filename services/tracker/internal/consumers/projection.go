// Package consumers makes the handlers of the tracker's consumers. Each passes the events of a
// consumer to the core: packages projection and command.
package consumers

import (
	"context"

	"sori.internal/services/tracker/internal/command"
	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/projection"
	"sori.internal/shared/bus"
	"sori.internal/shared/fault"
)

// Projection returns the handler that records a batch of events. After that, the handler erases the
// jobs in the batch whose token was deleted.
func Projection(projector *projection.Projector, eraser *command.Eraser) func(context.Context, []bus.Delivery) error {
	return func(ctx context.Context, batch []bus.Delivery) error {
		entries := make([]job.Entry, len(batch))
		for i, d := range batch {
			entries[i] = entry(d)
		}
		if err := projector.Project(ctx, entries); err != nil {
			return err
		}
		return eraser.EraseOrphans(ctx, entries)
	}
}

// DeadLetter returns the function that ends the job of an event that became a dead letter.
func DeadLetter(unprojectable *command.Unprojectable) func(context.Context, bus.Delivery, *fault.Error) error {
	return func(ctx context.Context, d bus.Delivery, _ *fault.Error) error {
		return unprojectable.Fail(ctx, d.Job, entry(d))
	}
}

func entry(d bus.Delivery) job.Entry {
	return job.Entry{Event: d.Event, Seq: d.Seq, Time: d.Time, Size: d.Size}
}
