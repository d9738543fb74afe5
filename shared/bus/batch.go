package bus

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/wait"
)

// batchRetryPause is the pause after a batch that failed because a dependency is unavailable. The
// events that are redelivered during the pause form one new batch, so that another failure logs one
// line and not one for each event.
const batchRetryPause = 500 * time.Millisecond

// Batches describes a consumer that handles events in batches.
type Batches struct {
	Consumer     // its fields Handle and Concurrency are ignored
	Size     int // maximum number of events in a batch

	// Wait is how long an incomplete batch waits for further events; a millisecond if it is 0. Under
	// load a batch fills while the previous one is handled.
	Wait time.Duration

	// Urgent reports whether an event of this name ends the wait of its batch. If it is nil, every
	// incomplete batch waits.
	Urgent func(event.Name) bool

	// Handle processes a batch: either all of its events or, if it returns an error, none. After an
	// error of the kind fault.Unavailable or fault.Exhausted the whole batch is redelivered. After
	// any other error Handle is called again for each event alone, so that only the event that
	// causes the error becomes a dead letter.
	Handle func(context.Context, []Delivery) error
}

// ConsumeBatches runs a consumer until ctx ends, then finishes the batch that is being handled. A
// replay that an operator requests is a batch of one event.
func (b *Bus) ConsumeBatches(ctx context.Context, c Batches) error {
	work, stop := withGrace(ctx, c.Grace)
	defer stop()
	replaysDone, err := b.serveReplays(ctx, work, c.single())
	if err != nil {
		return err
	}
	defer replaysDone()
	var held held
	interval := c.ackWait() / 3 // as for a single event
	stopExtending := wait.InBackground(context.WithoutCancel(ctx), interval, func(context.Context) { held.extend(interval) })
	defer stopExtending()
	incoming := make(chan jetstream.Msg, 2*c.Size)
	room, pulled := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		defer close(incoming)
		pulled <- b.pull(ctx, c.Consumer,
			func(msg jetstream.Msg) {
				held.add(msg)
				incoming <- msg
			},
			func() int { // every message that is requested has room, so that all that are delivered are held
				for len(incoming) > c.Size {
					<-room
				}
				return c.Size
			})
	}()
	urgent := func(msg jetstream.Msg) bool {
		_, name, err := event.ParseSubject(b.cfg.Namespace.Strip(msg.Subject()))
		return err == nil && c.Urgent != nil && c.Urgent(name)
	}
	for batch := c.gather(incoming, urgent); len(batch) > 0; batch = c.gather(incoming, urgent) {
		select {
		case room <- struct{}{}:
		default: // room has a value already
		}
		err := b.handleBatch(work, c, batch)
		held.remove(batch)
		if dependencyFailed(err) {
			_ = wait.For(ctx, batchRetryPause) // the pause ends early if the service stops
		}
	}
	return <-pulled
}

// single returns a consumer that handles events one by one.
func (c Batches) single() Consumer {
	single := c.Consumer
	single.Handle = func(ctx context.Context, d Delivery) error { return c.Handle(ctx, []Delivery{d}) }
	return single
}

// gather waits for one message and adds the messages that arrive within c.Wait. After an urgent
// message it waits no longer, and adds only the messages that have already arrived. It returns nil
// when incoming is closed.
func (c Batches) gather(incoming <-chan jetstream.Msg, urgent func(jetstream.Msg) bool) []jetstream.Msg {
	first, ok := <-incoming
	if !ok {
		return nil
	}
	batch := append(make([]jetstream.Msg, 0, c.Size), first)
	timer := time.NewTimer(cmp.Or(c.Wait, time.Millisecond))
	defer timer.Stop()
	hurry := false
	for len(batch) < c.Size {
		if hurry = hurry || urgent(batch[len(batch)-1]); hurry && len(incoming) == 0 {
			return batch
		}
		select {
		case msg, ok := <-incoming:
			if !ok {
				return batch
			}
			batch = append(batch, msg)
		case <-timer.C:
			return batch
		}
	}
	return batch
}

// handleBatch handles a batch and settles every message. It returns the error of the handler for
// the whole batch.
func (b *Bus) handleBatch(ctx context.Context, c Batches, batch []jetstream.Msg) error {
	start := time.Now()
	single := c.single()

	msgs, deliveries := make([]jetstream.Msg, 0, len(batch)), make([]Delivery, 0, len(batch))
	for _, msg := range batch {
		d, err := b.delivery(msg)
		if err != nil {
			if errors.Is(err, event.ErrUnknownProgress) {
				err = nil // as in handleOne
			}
			b.settle(b.eventContext(ctx, single, msg.Headers(), d), single, msg, d, err, start)
			continue
		}
		msgs, deliveries = append(msgs, msg), append(deliveries, d)
	}
	if len(msgs) == 0 {
		return nil
	}
	log := b.log.With().Str(logging.Consumer, c.Name).Logger()
	err := recoverPanic(func() error { return c.Handle(log.WithContext(ctx), deliveries) })
	if err != nil && len(msgs) > 1 && !dependencyFailed(err) {
		for _, msg := range msgs {
			b.handleOne(ctx, single, msg)
		}
		return err
	}
	if dependencyFailed(err) {
		log.Warn().Err(err).Str(logging.Kind, fault.KindOf(err).String()).Int(logging.Count, len(msgs)).
			Float64(logging.Took, logging.Millis(time.Since(start))).Msg("batch delayed")
		logged := *fault.As(err)
		logged.Logged = true // the line that is logged above covers all events of the batch
		err = &logged
	}
	for i, msg := range msgs {
		b.settle(b.eventContext(ctx, single, msg.Headers(), deliveries[i]), single, msg, deliveries[i], err, start)
	}
	return err
}

// dependencyFailed reports whether err was caused by a dependency and not by an event.
func dependencyFailed(err error) bool {
	return fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Exhausted)
}
