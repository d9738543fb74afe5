package app

import (
	"context"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/metrics"
)

// Resources returns the streams and consumers that the tracker needs on NATS, as they are with the
// default settings.
func Resources() bus.Resources {
	return bus.Resources{
		Streams:   []event.Stream{event.Jobs(), event.Tokens(), event.Dead(), event.Staging()},
		Consumers: []bus.Consumer{eventsConsumer(defaultBatchSize), deletionsConsumer()},
	}
}

// defaultBatchSize is the default of BATCH_SIZE.
const defaultBatchSize = 512

// batchWait is how long the projection collects further events for a batch. A terminal event is
// recorded without waiting. The steps of a job follow each other within milliseconds: if each step
// had its own transaction, the end of a short job would wait for the transactions of the earlier
// steps.
const batchWait = 20 * time.Millisecond

// maxReplicas is the number of replicas that can each have a full batch of unacknowledged events.
const maxReplicas = 16

// eventsConsumer returns the durable consumer of every event of every job, without a handler. It
// consumes the whole stream, event.AllJobs and event.AllProgress, without filters: if filters match
// many subjects, the NATS server scans all these subjects for each message, and is ten times slower.
func eventsConsumer(batchSize int) bus.Consumer {
	return bus.Consumer{Name: Name + "-projection", MaxPending: maxReplicas * batchSize}
}

// deletionsConsumer returns the durable consumer of the deletions of tokens, without a handler.
func deletionsConsumer() bus.Consumer {
	return bus.Consumer{Name: Name, Stream: event.Tokens()}.For(event.NameDeleted)
}

// consumeEvents runs the projection: it records every event of every job.
func (c *core) consumeEvents(cfg *Config, events *bus.Bus, counts *metrics.Registry) lifecycle.Component {
	consumer := eventsConsumer(cfg.BatchSize)
	consumer.Grace, consumer.Metrics = cfg.Grace, counts.Events
	consumer.OnDeadLetter = func(ctx context.Context, d bus.Delivery, _ *fault.Error) error {
		return c.unprojectable.Fail(ctx, d.Job, entry(d))
	}
	batches := bus.Batches{
		Consumer: consumer, Size: cfg.BatchSize, Wait: batchWait, Urgent: event.Name.Terminal,
		Handle: c.project,
	}
	return func(ctx context.Context) error { return events.ConsumeBatches(ctx, batches) }
}

// project records a batch of events. After that, it erases the jobs in the batch whose token was
// deleted.
func (c *core) project(ctx context.Context, batch []bus.Delivery) error {
	entries := make([]job.Entry, len(batch))
	for i, d := range batch {
		entries[i] = entry(d)
	}
	if err := c.projector.Project(ctx, entries); err != nil {
		return err
	}
	return c.eraser.EraseOrphans(ctx, entries)
}

func entry(d bus.Delivery) job.Entry {
	return job.Entry{Event: d.Event, Seq: d.Seq, Time: d.Time, Size: d.Size}
}

// tokenConcurrency is the number of deleted tokens that are handled concurrently.
const tokenConcurrency = 4

// consumeDeletions runs the consumer that erases the jobs of deleted tokens.
func (c *core) consumeDeletions(cfg *Config, events *bus.Bus, counts *metrics.Registry) lifecycle.Component {
	consumer := deletionsConsumer()
	consumer.Concurrency, consumer.Grace, consumer.Metrics = tokenConcurrency, cfg.Grace, counts.Events
	consumer.Handle = bus.On(func(ctx context.Context, e event.TokenDeleted, d bus.Delivery) error {
		return c.eraser.DeleteToken(ctx, e.TokenID, d.Time)
	})
	return func(ctx context.Context) error { return events.Consume(ctx, consumer) }
}
