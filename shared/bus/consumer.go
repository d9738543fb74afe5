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
	"sori.internal/shared/metrics"
	"sori.internal/shared/trace"
	"sori.internal/shared/wait"
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
