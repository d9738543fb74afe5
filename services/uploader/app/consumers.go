package app

import (
	"context"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/lifecycle"
)

// consumers returns the consumers of events.
func (s *service) consumers() []lifecycle.Component {
	received := consumerOf(s, func(ctx context.Context, e event.Received, _ bus.Delivery) error {
		return s.core.HandleReceived(ctx, e)
	})
	received.OnDeadLetter = func(ctx context.Context, d bus.Delivery, f *fault.Error) error {
		return s.core.Fail(ctx, d.Job, f.Code, f.Detail)
	}
	erased := consumerOf(s, func(ctx context.Context, e event.Erased, d bus.Delivery) error {
		return s.eraser.HandleErased(ctx, e, d.Seq)
	})
	return []lifecycle.Component{s.consume(received), s.consume(erased)}
}

// consume runs a consumer.
func (s *service) consume(c bus.Consumer) lifecycle.Component {
	return func(ctx context.Context) error { return s.events.Consume(ctx, c) }
}

// consumerName returns the name of the durable consumer of one type of event.
func consumerName(name event.Name) string { return Name + "-" + string(name) }

// consumerOf returns the configuration of the durable consumer of one type of event.
func consumerOf[E event.Event](s *service, handle func(context.Context, E, bus.Delivery) error) bus.Consumer {
	var zero E
	return bus.Consumer{
		Name: consumerName(zero.Name()), Filters: []string{event.Filter(zero.Name())},
		Concurrency: s.cfg.Concurrency, Grace: s.cfg.Grace, Metrics: s.metrics.Events,
		Handle: bus.On(handle),
	}
}
