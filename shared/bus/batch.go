package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// linger is how long an unfilled batch waits for one more event. It is short: a
// viewer waits for it, and under load batches fill while the last one commits.
const linger = time.Millisecond

// putOffPause is the pause after a batch that a dependency's absence put off. The
// events that come back meanwhile make one batch, and one line in the log.
const putOffPause = 500 * time.Millisecond

// Batches describes a consumer whose events are handled many at a time.
type Batches struct {
	Consumer // its Handle and Concurrency are not used
	Size     int
	// Handle does the work of a batch as a whole: all of it or, with an error,
	// none. Where one event spoils it (any kind that is not retryable), each is
	// handled again alone, so that only the culprit is given up.
	Handle func(context.Context, []Delivery) error
}

// ConsumeBatches runs c until ctx ends, then finishes the batch in hand. Replays
// that an operator asks for (Replay) are batches of one, beside the others.
func (b *Bus) ConsumeBatches(ctx context.Context, c Batches) error {
	work, stop := afterward(ctx, c.Grace)
	defer stop()
	replaysDone, err := b.hearReplays(ctx, work, c.single())
	if err != nil {
		return err
	}
	defer replaysDone()
	incoming := make(chan jetstream.Msg, c.Size)
	pulled := make(chan error, 1)
	go func() {
		defer close(incoming)
		pulled <- b.pull(ctx, c.Consumer,
			func(msg jetstream.Msg) { incoming <- msg },
			func() int { return c.Size })
	}()
	for batch := gather(incoming, c.Size); len(batch) > 0; batch = gather(incoming, c.Size) {
		if awaits(b.handleBatch(work, c, batch)) {
			_ = pause(ctx, putOffPause) // cut short by a stop
		}
	}
	return <-pulled
}

// single handles events one by one.
func (c Batches) single() Consumer {
	single := c.Consumer
	single.Handle = func(ctx context.Context, d Delivery) error { return c.Handle(ctx, []Delivery{d}) }
	return single
}

// gather waits for one message and takes what else is there. It returns none
// when incoming is closed.
func gather(incoming <-chan jetstream.Msg, size int) []jetstream.Msg {
	first, ok := <-incoming
	if !ok {
		return nil
	}
	batch := append(make([]jetstream.Msg, 0, size), first)
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for len(batch) < size {
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

// handleBatch returns what its handler did for the batch as a whole; every message
// is settled.
func (b *Bus) handleBatch(ctx context.Context, c Batches, batch []jetstream.Msg) error {
	start := time.Now()
	single := c.single()

	msgs, deliveries := make([]jetstream.Msg, 0, len(batch)), make([]Delivery, 0, len(batch))
	for _, msg := range batch {
		d, err := b.delivery(msg)
		if err != nil {
			b.settle(b.about(ctx, single, msg.Headers(), d), single, msg, d, err, start)
			continue
		}
		msgs, deliveries = append(msgs, msg), append(deliveries, d)
	}
	if len(msgs) == 0 {
		return nil
	}
	log := b.log.With().Str(logging.Consumer, c.Name).Logger()
	err := guard(func() error { return c.Handle(log.WithContext(ctx), deliveries) })
	if err != nil && len(msgs) > 1 && !awaits(err) {
		for _, msg := range msgs {
			b.handleOne(ctx, single, msg)
		}
		return err
	}
	if awaits(err) {
		log.Warn().Err(err).Str(logging.Kind, fault.KindOf(err).String()).Int(logging.Count, len(msgs)).
			Float64(logging.Took, logging.Millis(time.Since(start))).Msg("batch put off")
		told := *fault.As(err)
		told.Logged = true // once for all
		err = &told
	}
	for i, msg := range msgs {
		b.settle(b.about(ctx, single, msg.Headers(), deliveries[i]), single, msg, deliveries[i], err, start)
	}
	return err
}

// awaits reports whether err is a dependency's and no event's fault.
func awaits(err error) bool {
	return fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Exhausted)
}
