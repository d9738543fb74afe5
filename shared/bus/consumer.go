package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/metrics"
)

// Delivery is one delivery of an event to a consumer.
type Delivery struct {
	Event   event.Event
	Job     string    // the id of the event's job; empty if the event is about a token
	Seq     uint64    // the sequence of the event in its stream
	Time    time.Time // when the stream stored the event
	Attempt uint64    // the number of this delivery, from 1
	Size    int64     // bytes that the event occupies in its stream

	// Backoff is the shortest delay before the event is redelivered if its handler returns a retryable
	// error. A longer RetryAfter of the error replaces it. Backoff is 0 for a replay, which is not
	// redelivered.
	Backoff time.Duration
}

// First reports whether this consumer gets the event for the first time. A replay does not count as
// a first delivery.
func (d Delivery) First() bool { return d.Attempt == 1 && d.Backoff > 0 }

// Consumer describes a durable pull consumer. The replicas of a service share it: each event is
// delivered to one replica, and to another replica if the first one dies before it has settled the
// event.
type Consumer struct {
	Name        string        // name of the durable consumer: the service and the event
	Stream      event.Stream  // the zero value is event.Jobs()
	Filters     []string      // subjects of the stream; all if empty
	Concurrency int           // maximum number of handlers that run at once
	MaxPending  int           // maximum number of events delivered to all replicas and not settled; less than 1000 counts as 1000
	AckWait     time.Duration // 10 seconds if it is 0; Consume extends it while a handler runs
	Grace       time.Duration // how long handlers may continue after a stop
	Metrics     *metrics.Events

	// FixedDelay makes the RetryAfter of an error replace the backoff even if it is shorter. It is
	// for handlers that poll.
	FixedDelay bool

	// Handle processes one event. The error that it returns determines how the message is settled
	// (VerdictOn): nil acks it; an error of a retryable kind, or a conflict, redelivers it after a
	// growing delay (Delivery.Backoff); any other error makes it a dead letter. An internal error
	// is retryable until the tenth delivery; from then on, the message becomes a dead letter if its
	// last three deliveries to this process all failed with internal errors. Handle may run several
	// times for one event, also concurrently.
	Handle func(context.Context, Delivery) error

	// OnDeadLetter, if set, is called before a message becomes a dead letter, so that its job can be
	// failed. The event is nil if it could not be read.
	OnDeadLetter func(context.Context, Delivery, *fault.Error) error
}

// For returns a copy of c for one type of event: its name ends with the name of the event, and its
// filter matches only this type.
func (c Consumer) For(name event.Name) Consumer {
	c.Name += "-" + string(name)
	c.Filters = []string{event.Filter(name)}
	return c
}

// ConsumerOf returns a copy of base for the type of event that handle takes (For, On).
func ConsumerOf[E event.Event](base Consumer, handle func(context.Context, E, Delivery) error) Consumer {
	var zero E
	c := base.For(zero.Name())
	c.Handle = On(handle)
	return c
}

// On makes a Handle from a function for one type of event. An event of another type becomes a dead
// letter: it shows that the filters of the consumer are wrong.
func On[E event.Event](handle func(context.Context, E, Delivery) error) func(context.Context, Delivery) error {
	return func(ctx context.Context, d Delivery) error {
		e, ok := d.Event.(E)
		if !ok {
			return fault.New(fault.Invalid, "unexpected-event", fmt.Sprintf("The consumer does not take %s.", d.Event.Name()))
		}
		return handle(ctx, e, d)
	}
}

func (c Consumer) stream() event.Stream {
	if c.Stream.Name == "" {
		return event.Jobs()
	}
	return c.Stream
}

func (c Consumer) ackWait() time.Duration {
	if c.AckWait > 0 {
		return c.AckWait
	}
	return 10 * time.Second
}

// delay returns the delay before a message is redelivered: the longer of its backoff and its
// handler's retryAfter, or retryAfter if the consumer has a FixedDelay.
func (c Consumer) delay(backoff, retryAfter time.Duration) time.Duration {
	if c.FixedDelay && retryAfter > 0 {
		return retryAfter
	}
	return max(backoff, retryAfter)
}

// ConsumerState is the progress of a consumer of the stream of jobs.
type ConsumerState struct {
	AckFloor   uint64 // every event up to this sequence is settled
	Pending    uint64 // events that are not delivered yet
	AckPending int    // events that are delivered and not settled
}

// ConsumerState returns the progress of a consumer, and whether the consumer exists.
func (b *Bus) ConsumerState(ctx context.Context, consumer string) (ConsumerState, bool, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	c, err := b.js.Consumer(ctx, b.cfg.Namespace.Stream(event.Jobs().Name), consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return ConsumerState{}, false, nil
	}
	if err != nil {
		return ConsumerState{}, false, translate("find consumer "+consumer, err)
	}
	info := c.CachedInfo()
	return ConsumerState{AckFloor: info.AckFloor.Stream, Pending: info.NumPending, AckPending: info.NumAckPending}, true, nil
}

// Settled reports whether a consumer has settled every event that was delivered to it up to a
// sequence. Events that are no longer in the stream do not count. A consumer that does not exist
// has settled everything.
func (b *Bus) Settled(ctx context.Context, consumer string, seq uint64) (bool, error) {
	s, found, err := b.ConsumerState(ctx, consumer)
	return err == nil && (!found || s.AckPending == 0 || s.AckFloor >= seq), err
}
