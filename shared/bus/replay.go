package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// replaysWaiting is how many requests for a replay may wait for the one that is
// at work. What comes on top goes unanswered, and is asked for again.
const replaysWaiting = 64

// hearReplays answers requests for replays (Replay) until ctx ends, one at a time
// and beside the events that c is delivered. The returned function waits for the
// one in hand.
func (b *Bus) hearReplays(ctx, work context.Context, c Consumer) (wait func(), err error) {
	requests := make(chan *nats.Msg, replaysWaiting)
	sub, err := b.nc.ChanQueueSubscribe(b.cfg.Namespace.Subject(event.ReplaySubject(c.Name)), c.Name, requests)
	if err != nil {
		return nil, translate("hear replays of "+c.Name, err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { _ = sub.Unsubscribe() }() // fails where the connection has ended, and it with it
		for {
			select {
			case m := <-requests:
				b.answerReplay(work, c, m)
			case <-ctx.Done():
				return
			}
		}
	})
	return wg.Wait, nil
}

func (b *Bus) answerReplay(ctx context.Context, c Consumer, request *nats.Msg) {
	start := time.Now()
	ctx, err := b.replay(ctx, c, string(request.Data))
	outcome, told, level := "replayed", replayAnswer{}, zerolog.InfoLevel
	if f := fault.As(err); f != nil { // the cause may hold a secret, and stays here
		outcome, told, level = "replay-failed", replayAnswer{Kind: f.Kind.String(), Code: f.Code, Detail: f.Detail}, zerolog.ErrorLevel
	}
	took := time.Since(start)
	c.Metrics.Observe(c.Name, outcome, took)
	body, encodeErr := json.Marshal(told)
	if encodeErr == nil {
		encodeErr = request.Respond(body)
	}
	line := zerolog.Ctx(ctx).WithLevel(level).Str(logging.Outcome, outcome).Float64(logging.Took, logging.Millis(took))
	if err != nil {
		line = line.Err(err)
	}
	if encodeErr != nil { // whoever asked will ask again
		line = line.AnErr("answer_error", encodeErr)
	}
	line.Msg("event replayed")
}

// replay has c handle the event at a sequence, and returns its context for the
// log.
func (b *Bus) replay(ctx context.Context, c Consumer, sequence string) (context.Context, error) {
	seq, err := strconv.ParseUint(sequence, 10, 64)
	d := Delivery{Seq: seq, Attempt: 1}
	if err != nil || seq == 0 {
		return b.about(ctx, c, nil, d), fault.Wrap(fault.Invalid, "sequence-invalid", "A replay names the sequence of an event.", err)
	}
	raw, err := b.original(ctx, c.stream(), seq)
	if err != nil {
		return b.about(ctx, c, nil, d), err
	}
	d.Time = raw.Time
	err = d.read(b.cfg.Namespace.Strip(raw.Subject), raw.Data)
	ctx = b.about(ctx, c, raw.Header, d)
	if err != nil {
		return ctx, err
	}
	return ctx, guard(func() error { return c.Handle(ctx, d) })
}

// original reads an event from its stream.
func (b *Bus) original(ctx context.Context, from event.Stream, seq uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	stream, err := b.stream(ctx, from)
	if err != nil {
		return nil, err
	}
	raw, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fault.Wrap(fault.NotFound, "event-gone", "The log no longer holds the event.", err)
	}
	return raw, translate(fmt.Sprintf("read event %d", seq), err)
}
