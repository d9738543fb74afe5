// Package intake takes events off the bus and hands them to the core.
package intake

import (
	"context"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/bus"
	"sori.internal/shared/fault"
)

// Projection records a batch of events of any kind, all of it or none.
func Projection(core *job.Projector) func(context.Context, []bus.Delivery) error {
	return func(ctx context.Context, batch []bus.Delivery) error {
		entries := make([]job.Entry, len(batch))
		for i, d := range batch {
			entries[i] = entry(d)
		}
		return core.Project(ctx, entries)
	}
}

// GiveUp ends the job of an event that no retry can record.
func GiveUp(core *job.Projector) func(context.Context, bus.Delivery, *fault.Error) error {
	return func(ctx context.Context, d bus.Delivery, _ *fault.Error) error {
		return core.GiveUp(ctx, d.Job, entry(d))
	}
}

func entry(d bus.Delivery) job.Entry { return job.Entry{Event: d.Event, Seq: d.Seq, Time: d.Time} }
