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
	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// replayReply is the reply of a consumer to a request for a replay. An empty kind means success.
type replayReply struct {
	Kind   string `json:"kind,omitempty"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// failure returns the error of a replay, or nil after a success.
func (r replayReply) failure() error {
	if r.Kind == "" {
		return nil
	}
	f := fault.New(fault.Internal, r.Code, r.Detail)
	for _, k := range fault.Kinds() {
		if k.String() == r.Kind {
			f.Kind = k
		}
	}
	return f
}

// Replay requests that a consumer handles the event with the sequence seq of its stream again, even
// if the event was settled before, and returns the error of the handler. One replica of the service
// handles the event. Replay waits until ctx ends. It fails with fault.Unavailable if no replica
// runs, or if the handler has not finished when the deadline of ctx passes.
//
// Replay publishes no event: the handler gets the event from the stream, with its sequence, time
// and trace. A failed replay settles nothing: the event is neither redelivered nor dead-lettered
// again.
func (b *Bus) Replay(ctx context.Context, consumer string, seq uint64) error {
	reply, err := b.nc.RequestWithContext(ctx, b.cfg.Namespace.Subject(event.ReplaySubject(consumer)), []byte(strconv.FormatUint(seq, 10)))
	if errors.Is(err, nats.ErrNoResponders) {
		return fault.Wrap(fault.Unavailable, "consumer-away", "No replica of the service that runs "+consumer+" is available.", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Unavailable, "replay-unanswered", consumer+" did not reply in time: it may still be handling the event.", err)
	}
	if err != nil {
		return translate("request a replay of "+consumer, err)
	}
	var r replayReply
	if err := json.Unmarshal(reply.Data, &r); err != nil {
		return fmt.Errorf("request a replay of %s: %w", consumer, err)
	}
	return r.failure()
}

// maxReplayRequests is how many requests for a replay may wait while another one is handled.
// Further requests get no reply, and the requester must repeat them.
const maxReplayRequests = 64

// serveReplays handles requests for replays until ctx ends, one at a time and in addition to the
// deliveries of c. The returned function waits for the request that is being handled.
func (b *Bus) serveReplays(ctx, work context.Context, c Consumer) (wait func(), err error) {
	requests := make(chan *nats.Msg, maxReplayRequests)
	sub, err := b.nc.ChanQueueSubscribe(b.cfg.Namespace.Subject(event.ReplaySubject(c.Name)), c.Name, requests)
	if err != nil {
		return nil, translate("subscribe to replays of "+c.Name, err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { _ = sub.Unsubscribe() }() // an error means that the connection, and with it the subscription, has ended
		for {
			select {
			case m := <-requests:
				b.replyToReplay(work, c, m)
			case <-ctx.Done():
				return
			}
		}
	})
	return wg.Wait, nil
}

func (b *Bus) replyToReplay(ctx context.Context, c Consumer, request *nats.Msg) {
	start := time.Now()
	ctx, err := b.handleReplay(ctx, c, string(request.Data))
	outcome, reply, level := "replayed", replayReply{}, zerolog.InfoLevel
	if f := fault.As(err); f != nil { // the reply omits the cause, which may contain a secret
		outcome, reply, level = "replay-failed", replayReply{Kind: f.Kind.String(), Code: f.Code, Detail: f.Detail}, zerolog.ErrorLevel
	}
	took := time.Since(start)
	c.Metrics.Observe(c.Name, outcome, took)
	body, replyErr := json.Marshal(reply)
	if replyErr == nil {
		replyErr = request.Respond(body)
	}
	line := zerolog.Ctx(ctx).WithLevel(level).Str(logging.Outcome, outcome).Float64(logging.Took, logging.Millis(took))
	if err != nil {
		line = line.Err(err)
	}
	if replyErr != nil { // no reply was sent: the requester repeats the request
		line = line.AnErr("answer_error", replyErr)
	}
	line.Msg("event replayed")
}

// handleReplay handles the event with a sequence, and returns the event's context for the log. It
// settles nothing.
func (b *Bus) handleReplay(ctx context.Context, c Consumer, sequence string) (context.Context, error) {
	seq, err := strconv.ParseUint(sequence, 10, 64)
	d := Delivery{Seq: seq, Attempt: 1}
	if err != nil || seq == 0 {
		return b.eventContext(ctx, c, nil, d), fault.Wrap(fault.Invalid, "sequence-invalid", "A replay names the sequence of an event.", err)
	}
	m, err := b.Stream(c.stream()).Get(ctx, seq)
	if err == nil && m == nil {
		err = fault.New(fault.NotFound, "event-gone", "The log no longer holds the event.")
	}
	if err != nil {
		return b.eventContext(ctx, c, nil, d), err
	}
	d.Time, d.Size = m.Time, storedSize(b.cfg.Namespace.Subject(m.Subject), m.Header, m.Data)
	err = d.decode(m.Subject, m.Data)
	ctx = b.eventContext(ctx, c, m.Header, d)
	if err != nil {
		return ctx, err
	}
	return ctx, recoverPanic(func() error { return c.Handle(ctx, d) })
}
