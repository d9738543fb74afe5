package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
)

// Consume runs a consumer until ctx ends, then waits for the running handlers. It creates the
// durable consumer if it does not exist, and again if the server loses it. It also handles the
// events whose replay an operator requests (package deadletter).
func (b *Bus) Consume(ctx context.Context, c Consumer) error {
	work, stop := withGrace(ctx, c.Grace)
	defer stop()
	replaysDone, err := b.serveReplays(ctx, work, c)
	if err != nil {
		return err
	}
	defer replaysDone()
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, c.Concurrency)
	return b.pull(ctx, c, func(msg jetstream.Msg) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			b.handleOne(work, c, msg)
		})
	}, func() int { // the number of free handlers: the AckWait of a message that waited for a handler would expire
		slots <- struct{}{}
		<-slots
		return cap(slots) - len(slots)
	})
}

// handleOne calls the handler with one message and settles it.
func (b *Bus) handleOne(ctx context.Context, c Consumer, msg jetstream.Msg) {
	start := time.Now()
	d, err := b.delivery(msg)
	ctx = b.eventContext(ctx, c, msg.Headers(), d)
	if errors.Is(err, event.ErrUnknownProgress) {
		err = nil // a newer release publishes it: there is nothing to handle, and nothing to repair
	} else if err == nil {
		stopExtending := extendAckWait(ctx, msg, c.ackWait()/3)
		err = recoverPanic(func() error { return c.Handle(ctx, d) })
		stopExtending()
	}
	b.settle(ctx, c, msg, d, err, start)
}
