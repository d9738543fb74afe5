package app

import (
	"context"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/lifecycle"
)

// Resources returns the streams and consumers that the uploader needs on NATS.
func Resources() bus.Resources {
	return bus.Resources{
		Streams:   []event.Stream{event.Jobs(), event.Dead(), event.Staging(), event.Uploads()},
		Consumers: []bus.Consumer{durable(event.NameReceived), durable(event.NameErased), durable(event.NameExpired), durableFetch()},
	}
}

// fetchConsumer is the consumer that fetches recordings from URLs. It is not the consumer that
// copies uploads, so that slow servers do not delay uploads.
const fetchConsumer = Name + "-fetch"

// maxPending is the largest number of delivered events that are not acknowledged (MaxAckPending),
// for fetchConsumer and for the consumer of the event `erased`. It is large, because the events of
// an owner with too many fetches stay unacknowledged, and so do the erasures of jobs with a source
// while an older fetch is running. Neither must block the delivery of other owners' events.
const maxPending = 10_000

// durableFetch returns the configuration of the durable consumer of fetches, without a handler.
func durableFetch() bus.Consumer {
	return bus.Consumer{
		Name: fetchConsumer, Filters: []string{event.Filter(event.NameReceived), event.Filter(event.NameRetried)}, MaxPending: maxPending,
	}
}

// durable returns the configuration of the durable consumer of one type of event, without a handler.
func durable(name event.Name) bus.Consumer {
	c := bus.Consumer{Name: Name}.For(name)
	if name == event.NameErased {
		c.MaxPending = maxPending
	}
	return c
}

// consumers returns the components that run the consumers.
func (s *service) consumers() []lifecycle.Component {
	base := bus.Consumer{Name: Name, Concurrency: s.cfg.Concurrency, Grace: s.cfg.Grace, Metrics: s.metrics.Events}
	received := bus.ConsumerOf(base, func(ctx context.Context, e event.Received, d bus.Delivery) error {
		if e.Source != "" {
			return nil // fetchConsumer handles this event
		}
		var known event.Log
		if d.First() {
			known = event.Log{{Event: e, Seq: d.Seq, Time: d.Time}}
		}
		return s.core.HandleReceived(ctx, e, known)
	})
	received.OnDeadLetter = func(ctx context.Context, d bus.Delivery, f *fault.Error) error {
		return s.core.Fail(ctx, d.Job, f.Code, f.Detail)
	}
	erased := bus.ConsumerOf(base, func(ctx context.Context, e event.Erased, d bus.Delivery) error {
		return s.eraser.HandleErased(ctx, e, d.Seq)
	})
	erased.MaxPending = maxPending
	expired := bus.ConsumerOf(base, func(ctx context.Context, e event.Expired, _ bus.Delivery) error {
		return s.eraser.HandleExpired(ctx, e)
	})
	return []lifecycle.Component{s.consume(received), s.consume(erased), s.consume(expired), s.consume(s.fetches())}
}

// fetches returns the consumer that fetches recordings.
func (s *service) fetches() bus.Consumer {
	c := durableFetch()
	c.Concurrency, c.Grace, c.Metrics = s.cfg.FetchConcurrency, s.cfg.Grace, s.metrics.Events
	c.Handle = func(ctx context.Context, d bus.Delivery) error {
		received, _ := d.Event.(event.Received)
		retried, _ := d.Event.(event.Retried)
		if received.Source == "" && !retried.Fetch {
			return nil // nothing to fetch: an upload, or a retry of a stored recording
		}
		return s.remote.Handle(ctx, d.Job)
	}
	c.OnDeadLetter = func(ctx context.Context, d bus.Delivery, f *fault.Error) error {
		return s.remote.Fail(ctx, d.Job, event.Failed{JobID: d.Job, Code: f.Code, Detail: f.Detail, Retryable: f.Kind.Retryable()})
	}
	return c
}

// consume runs a consumer.
func (s *service) consume(c bus.Consumer) lifecycle.Component {
	return func(ctx context.Context) error { return s.events.Consume(ctx, c) }
}
