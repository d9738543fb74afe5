package app

import (
	"context"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/lifecycle"
)

// maxPending is the largest number of delivered events of one type that are not acknowledged
// (MaxAckPending). It is large because the job of an undelivered event does not show that it waits
// for the analysis server.
const maxPending = 10_000

// The key-value buckets of the slots and of the flag that the status URL has returned a status.
const (
	slotsBucket  = "ANALYSIS_SLOTS"
	statusBucket = "ANALYSIS_STATUS"
)

// Resources returns the streams, consumers and buckets that the dispatcher needs on NATS. The
// result does not depend on the settings.
func Resources() bus.Resources {
	r := bus.Resources{
		Streams: []event.Stream{event.Jobs(), event.Dead(), event.Staging(), event.Queue(), event.Results(), event.Shared()},
		Buckets: []string{slotsBucket, statusBucket},
	}
	for _, name := range []event.Name{
		event.NameStored, event.NameRetried, event.NameLapsed, event.NameGranted, event.NameDispatched, event.NameRefused,
		event.NameCompleted, event.NameFailed, event.NameCanceled, event.NameErased,
	} {
		r.Consumers = append(r.Consumers, durable().For(name))
	}
	return r
}

// durable returns the configuration that the durable consumers of all types of events share.
func durable() bus.Consumer { return bus.Consumer{Name: Name, MaxPending: maxPending} }

// consumers returns the consumers of events. Each type of event has its own, since a consumer with
// several filters is slow if few subjects match.
func (s *service) consumers() []lifecycle.Component {
	base := durable()
	base.Concurrency, base.Grace, base.Metrics = s.cfg.Concurrency, s.cfg.Grace, s.metrics.Events
	parts := []lifecycle.Component{
		s.consume(bus.ConsumerOf(base, withDelivery(s.core.HandleStored))),
		s.consume(bus.ConsumerOf(base, withBackoff(s.core.HandleRetried))),
		s.consume(bus.ConsumerOf(base, withBackoff(s.core.HandleLapsed))),
		s.consume(bus.ConsumerOf(base, withDelivery(s.core.HandleGranted))),
		s.follow(bus.ConsumerOf(base, withCount(s.core.HandleCompleted))),
		s.follow(bus.ConsumerOf(base, withCount(s.core.HandleFailed))),
		s.follow(bus.ConsumerOf(base, withCount(s.core.HandleCanceled))),
		s.follow(bus.ConsumerOf(base, withCount(s.core.HandleErased))),
	}
	if s.cfg.StatusURL != "" { // without a status URL, nothing can be polled
		parts = append(parts,
			s.poll(bus.ConsumerOf(base, withBackoff(s.core.HandleDispatched))),
			s.poll(bus.ConsumerOf(base, withBackoff(s.core.HandleRefused))))
	}
	return parts
}

// consume runs a consumer that fails the job of an event before the event becomes a dead letter.
func (s *service) consume(c bus.Consumer) lifecycle.Component {
	c.OnDeadLetter = func(ctx context.Context, d bus.Delivery, f *fault.Error) error { return s.core.Fail(ctx, d.Job, f) }
	return func(ctx context.Context) error { return s.events.Consume(ctx, c) }
}

// poll runs a consumer whose handler polls running analyses. An event is redelivered after the
// delay in the handler's error. If an event becomes a dead letter, its job does not fail.
func (s *service) poll(c bus.Consumer) lifecycle.Component {
	c.FixedDelay = true
	return func(ctx context.Context) error { return s.events.Consume(ctx, c) }
}

// follow runs a consumer of terminal events. Its handler ends the wait of the jobs that wait for
// the analysis of the ended job, and requests the cancellation of an analysis that no job waits
// for. If an event becomes a dead letter, its job does not change, since the job has already ended.
func (s *service) follow(c bus.Consumer) lifecycle.Component {
	return func(ctx context.Context) error { return s.events.Consume(ctx, c) }
}

// withDelivery adapts a handler that needs the delivery of an event.
func withDelivery[E event.Event](handle func(context.Context, E, analysis.Delivery) error) func(context.Context, E, bus.Delivery) error {
	return func(ctx context.Context, e E, d bus.Delivery) error {
		return handle(ctx, e, analysis.Delivery{Seq: d.Seq, First: d.First(), Backoff: d.Backoff})
	}
}

// withBackoff adapts a handler that needs only the backoff of a delivery.
func withBackoff[E event.Event](handle func(context.Context, E, time.Duration) error) func(context.Context, E, bus.Delivery) error {
	return func(ctx context.Context, e E, d bus.Delivery) error { return handle(ctx, e, d.Backoff) }
}

// withCount adapts a handler that needs only the number of the delivery.
func withCount[E event.Event](handle func(context.Context, E, uint64) error) func(context.Context, E, bus.Delivery) error {
	return func(ctx context.Context, e E, d bus.Delivery) error { return handle(ctx, e, d.Attempt) }
}
