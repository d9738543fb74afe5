package bus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/trace"
	"sori.internal/shared/wait"
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

// redeliverDelay is the delay of a message that a stopping replica naks.
const redeliverDelay = 100 * time.Millisecond

// pull calls take with messages until ctx ends. It requests at most free() messages at a time. A
// message that arrives after ctx has ended is nacked, so that another replica gets it.
func (b *Bus) pull(ctx context.Context, c Consumer, take func(jetstream.Msg), free func() int) error {
	delay := backoff{}
	for ctx.Err() == nil {
		cons, _, err := b.ensureConsumer(ctx, c)
		for err == nil && ctx.Err() == nil {
			err = b.fetch(ctx, c, cons, take, free())
			if err == nil {
				delay = backoff{}
			}
		}
		if ctx.Err() == nil {
			b.log.Warn().Err(err).Str(logging.Consumer, c.Name).Msg("consumer interrupted")
			_ = wait.For(ctx, delay.next()) // the pause ends early if the service stops
		}
	}
	return nil
}

// fetchWait is how long one pull request waits for messages.
const fetchWait = 20 * time.Second

// fetch makes one pull request for n messages.
func (b *Bus) fetch(ctx context.Context, c Consumer, cons jetstream.Consumer, take func(jetstream.Msg), n int) error {
	reqCtx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	// A pull request ends with its connection. Without this goroutine, fetch would notice the end
	// of the connection only when heartbeats are missing.
	reconnected := b.reconnected.wait()
	go func() {
		select {
		case <-reconnected:
			cancel()
		case <-reqCtx.Done():
		}
	}()
	batch, err := cons.Fetch(n, jetstream.FetchContext(reqCtx), jetstream.FetchHeartbeat(fetchWait/4))
	if err != nil {
		return fmt.Errorf("pull for %s: %w", c.Name, err)
	}
	for msg := range batch.Messages() {
		if ctx.Err() != nil {
			_ = msg.NakWithDelay(redeliverDelay) // if the nak is lost, the message is redelivered after AckWait
			continue
		}
		take(msg)
	}
	err = batch.Error()
	if err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("pull for %s: %w", c.Name, err)
}

// ensureConsumer returns the durable consumer. It creates the consumer, or updates it if its
// configuration differs. Like a stream (Ensure), a consumer that needs no change is not updated.
//
// Without Config.Provision it changes nothing, and uses a consumer whose configuration differs as it
// is.
func (b *Bus) ensureConsumer(ctx context.Context, c Consumer) (jetstream.Consumer, Action, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	stream := b.cfg.Namespace.Stream(c.stream().Name)
	var present jetstream.ConsumerConfig
	cons, err := b.js.Consumer(ctx, stream, c.Name)
	if err == nil {
		present = cons.CachedInfo().Config
	} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, Unchanged, translate("find consumer "+c.Name, err)
	}
	wanted := b.consumerConfig(c, present)
	if reflect.DeepEqual(wanted, present) {
		return cons, Unchanged, nil
	}
	if !b.cfg.Provision {
		if present.Name == "" {
			return nil, Unchanged, notProvisioned("consumer " + c.Name)
		}
		b.warnOfDifference("consumer " + c.Name)
		return cons, Unchanged, nil
	}
	cons, err = b.js.CreateOrUpdateConsumer(ctx, stream, wanted)
	return cons, actionOn(present.Name), translate("make consumer "+c.Name, err)
}

// consumerConfig returns the configuration that a consumer should have. Other settings, which
// operators may change, keep their value from config.
func (b *Bus) consumerConfig(c Consumer, config jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	config.Durable, config.FilterSubject, config.FilterSubjects = c.Name, "", nil
	for _, f := range c.Filters {
		config.FilterSubjects = append(config.FilterSubjects, b.cfg.Namespace.Subject(f))
	}
	config.AckPolicy, config.AckWait, config.MaxDeliver = jetstream.AckExplicitPolicy, c.ackWait(), -1
	config.MaxAckPending, config.DeliverPolicy = max(c.MaxPending, 1000), jetstream.DeliverAllPolicy
	return config
}

// settle acks, naks or terminates every message that was handled. The only other function that
// settles messages is fetch: it naks the messages that arrive after a stop.
func (b *Bus) settle(ctx context.Context, c Consumer, msg jetstream.Msg, d Delivery, err error, start time.Time) {
	verdict, internal := VerdictOn(err, d.Attempt), fault.Is(err, fault.Internal)
	if inRow := b.defects.observe(delivered{c.Name, d.Seq}, internal); internal && inRow < minDefects {
		verdict = Retry
	}
	if verdict == Reject {
		if deadErr := b.storeDeadLetter(ctx, c, msg, d, fault.As(err)); deadErr != nil {
			zerolog.Ctx(ctx).Warn().Err(deadErr).Msg("dead letter not stored yet")
			verdict = Retry
		}
	}
	var settleErr error
	switch verdict {
	case Ack:
		settleErr = msg.Ack()
	case Retry:
		settleErr = msg.NakWithDelay(c.delay(d.Backoff, fault.As(err).RetryAfter))
	case Reject:
		settleErr = msg.TermWithReason(fault.As(err).Code)
	}
	took := time.Since(start)
	c.Metrics.Observe(c.Name, verdict.String(), took)
	log := zerolog.Ctx(ctx).With().Str(logging.Outcome, verdict.String()).Float64(logging.Took, logging.Millis(took)).Logger()
	level := verdict.level()
	if f := fault.As(err); f != nil {
		log = log.With().Err(err).Str(logging.Kind, f.Kind.String()).Logger()
		if verdict == Retry && f.Logged {
			level = zerolog.DebugLevel
		}
	}
	if settleErr != nil { // the server redelivers a message whose ack, nak or term was lost; handlers tolerate that
		log = log.With().AnErr("settle_error", settleErr).Logger()
	}
	log.WithLevel(level).Msg("event handled")
}

// The headers of a dead letter, in addition to those of the rejected message.
const (
	HeaderReason     = "Sori-Reason"
	HeaderCode       = "Sori-Code"
	HeaderSubject    = "Sori-Subject"
	HeaderSequence   = "Sori-Sequence"
	HeaderDeliveries = "Sori-Deliveries"
)

// storeDeadLetter calls OnDeadLetter, so that the service fails the job, and then stores the
// message with the reason. The reason is the code and the detail of the failure. The cause is left
// out, since it may contain secrets.
func (b *Bus) storeDeadLetter(ctx context.Context, c Consumer, msg jetstream.Msg, d Delivery, f *fault.Error) error {
	if c.OnDeadLetter != nil && d.Job != "" {
		if err := recoverPanic(func() error { return c.OnDeadLetter(ctx, d, f) }); err != nil {
			return fmt.Errorf("fail job %s: %w", d.Job, err)
		}
	}
	dead := nats.NewMsg(b.cfg.Namespace.Subject(event.DeadSubject(c.Name)))
	dead.Data = msg.Data()
	for k, v := range msg.Headers() {
		switch k {
		case jetstream.MsgIDHeader, jetstream.ExpectedLastSubjSeqHeader, jetstream.ExpectedLastSubjSeqSubjHeader, jetstream.MsgTTLHeader:
		default: // those above are instructions for the stream
			dead.Header[k] = v
		}
	}
	dead.Header.Set(HeaderReason, f.Detail)
	dead.Header.Set(HeaderCode, f.Code)
	dead.Header.Set(HeaderSubject, b.cfg.Namespace.Strip(msg.Subject()))
	dead.Header.Set(HeaderSequence, strconv.FormatUint(d.Seq, 10))
	dead.Header.Set(HeaderDeliveries, strconv.FormatUint(d.Attempt, 10))
	dead.Header[trace.Header] = []string{trace.Parent(ctx)}
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	_, err := b.js.PublishMsg(ctx, dead, jetstream.WithMsgID(fmt.Sprintf("%s.%d", c.Name, d.Seq)))
	return translate("store a dead letter of "+c.Name, err)
}
