package bus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/metrics"
	"sori.internal/shared/trace"
)

// Delivery is one event as a consumer gets it.
type Delivery struct {
	Event   event.Event
	Job     string    // that it is about; empty where that is a token
	Seq     uint64    // its sequence in the stream: what an Append that acts on it expects
	Time    time.Time // when the stream took it
	Attempt uint64    // how often it was delivered, from 1

	// Backoff is the least time after which it is delivered again, where its
	// handler's error lets it; the fault's RetryAfter counts where that is longer.
	// It is 0 for a replay, which is not delivered again.
	Backoff time.Duration
}

// Consumer describes a durable pull consumer. Copies of a service share it: each
// event goes to one of them, and again to another where that one dies.
type Consumer struct {
	Name        string       // durable, after service and purpose
	Stream      event.Stream // the zero value is that of the jobs
	Filters     []string     // subjects of the stream
	Concurrency int          // handlers at once
	MaxPending  int          // delivered and not settled, over all copies; 0 is a thousand
	AckWait     time.Duration
	Grace       time.Duration // how long work in hand may go on after a stop
	Metrics     *metrics.Events

	// FixedDelay lets a fault's RetryAfter alone decide when an event is delivered again,
	// however often it was: for handlers that look at something from time to time.
	FixedDelay bool

	// Handle does the work of one event. What it returns decides what becomes
	// of the message: nil acks, a retryable kind delivers it again after a
	// growing delay (Delivery.Backoff), any other kind makes it a dead letter. It
	// may run twice for one event, at once or later.
	Handle func(context.Context, Delivery) error

	// OnDeadLetter, where set, is called before a message becomes a dead letter, so
	// that its job can be failed. The event is nil where it could not be read.
	OnDeadLetter func(context.Context, Delivery, *fault.Error) error
}

// On makes a Handle of a function that handles one type of event. An event of another type is a
// dead letter: the consumer's filters are wrong.
func On[E event.Event](handle func(context.Context, E, Delivery) error) func(context.Context, Delivery) error {
	return func(ctx context.Context, d Delivery) error {
		e, ok := d.Event.(E)
		if !ok {
			return fault.New(fault.Invalid, "unexpected-event", fmt.Sprintf("The consumer does not take %s.", d.Event.Name()))
		}
		return handle(ctx, e, d)
	}
}

// Consume runs c until ctx ends, then waits for the work in hand. The consumer
// is made where it does not exist, and made again where it is lost. Beside what
// it is delivered, it handles events again that an operator asks for (Replay).
func (b *Bus) Consume(ctx context.Context, c Consumer) error {
	work, stop := afterward(ctx, c.Grace)
	defer stop()
	replaysDone, err := b.hearReplays(ctx, work, c)
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
	}, func() int { // exactly as many as can be worked on: what waits here would age
		slots <- struct{}{}
		<-slots
		return cap(slots) - len(slots)
	})
}

// afterward returns a context that outlives ctx by grace, for work that was
// begun before ctx ended.
func afterward(ctx context.Context, grace time.Duration) (context.Context, func()) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var timer *time.Timer
	var mu sync.Mutex
	unhook := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		timer = time.AfterFunc(grace, cancel)
	})
	return work, func() {
		unhook()
		mu.Lock()
		defer mu.Unlock()
		if timer != nil {
			timer.Stop()
		}
		cancel()
	}
}

// pull takes messages, at most free at a time, until ctx ends. A message that
// arrives with the stop is handed back for another copy.
func (b *Bus) pull(ctx context.Context, c Consumer, take func(jetstream.Msg), free func() int) error {
	wait := backoff{}
	for ctx.Err() == nil {
		cons, err := b.consumer(ctx, c)
		for err == nil && ctx.Err() == nil {
			err = b.fetch(ctx, c, cons, take, free())
			if err == nil {
				wait = backoff{}
			}
		}
		if ctx.Err() == nil {
			b.log.Warn().Err(err).Str(logging.Consumer, c.Name).Msg("consumer interrupted")
			_ = pause(ctx, wait.next()) // cut short by a stop, which the loop sees
		}
	}
	return nil
}

// fetchWait is how long one pull request waits for its messages.
const fetchWait = 20 * time.Second

func (b *Bus) fetch(ctx context.Context, c Consumer, cons jetstream.Consumer, take func(jetstream.Msg), n int) error {
	reqCtx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	// A request does not survive its connection: without this, a consumer would
	// wait for the missed heartbeats to tell it so.
	reconnected := b.reconnected.heard()
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
			_ = msg.NakWithDelay(redeliverDelay) // it comes back by itself where this is lost
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

// consumer finds a consumer, and makes it or changes it where it is not as it
// should be. As with streams (Ensure), nothing is changed without need.
func (b *Bus) consumer(ctx context.Context, c Consumer) (jetstream.Consumer, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	stream := b.cfg.Namespace.Stream(c.stream().Name)
	var present jetstream.ConsumerConfig
	cons, err := b.js.Consumer(ctx, stream, c.Name)
	if err == nil {
		present = cons.CachedInfo().Config
	} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, translate("find consumer "+c.Name, err)
	}
	wanted := b.consumerConfig(c, present)
	if reflect.DeepEqual(wanted, present) {
		return cons, nil
	}
	cons, err = b.js.CreateOrUpdateConsumer(ctx, stream, wanted)
	return cons, translate("make consumer "+c.Name, err)
}

// consumerConfig is how a consumer should be; what is not ours to say is left as
// it is in config.
func (b *Bus) consumerConfig(c Consumer, config jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	config.Durable, config.FilterSubject, config.FilterSubjects = c.Name, "", nil
	for _, f := range c.Filters {
		config.FilterSubjects = append(config.FilterSubjects, b.cfg.Namespace.Subject(f))
	}
	config.AckPolicy, config.AckWait, config.MaxDeliver = jetstream.AckExplicitPolicy, c.ackWait(), -1
	config.MaxAckPending, config.DeliverPolicy = max(c.MaxPending, 1000), jetstream.DeliverAllPolicy
	return config
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

// handleOne runs the handler for one message and settles it.
func (b *Bus) handleOne(ctx context.Context, c Consumer, msg jetstream.Msg) {
	start := time.Now()
	d, err := b.delivery(msg)
	ctx = b.about(ctx, c, msg.Headers(), d)
	if err == nil {
		keep := extendLease(msg, c.ackWait()/3)
		err = guard(func() error { return c.Handle(ctx, d) })
		keep()
	}
	b.settle(ctx, c, msg, d, err, start)
}

// about returns the context of one event: in its trace, with its logger.
func (b *Bus) about(ctx context.Context, c Consumer, header nats.Header, d Delivery) context.Context {
	ctx = trace.Continue(ctx, header.Get(trace.Header))
	log := b.log.With().Str(logging.Consumer, c.Name).
		Uint64(logging.Sequence, d.Seq).Uint64(logging.Delivery, d.Attempt).
		Str(logging.EventID, header.Get(headerID)).Str(logging.Trace, trace.ID(ctx))
	if d.Job != "" {
		log = log.Str(logging.JobID, d.Job)
	}
	return log.Logger().WithContext(ctx)
}

// delivery reads a message. One that cannot be read still has its job, where the
// subject names one.
func (b *Bus) delivery(msg jetstream.Msg) (Delivery, error) {
	subject := b.cfg.Namespace.Strip(msg.Subject())
	var d Delivery
	meta, err := msg.Metadata()
	if err != nil {
		d.Job, _, _ = event.ParseSubject(subject)
		d.Backoff = Delay(d.Attempt)
		return d, fmt.Errorf("read delivery: %w", err)
	}
	d.Seq, d.Time, d.Attempt = meta.Sequence.Stream, meta.Timestamp, meta.NumDelivered
	d.Backoff = Delay(d.Attempt)
	return d, d.read(subject, msg.Data())
}

// read takes job and event out of a message.
func (d *Delivery) read(subject string, body []byte) (err error) {
	d.Job, _, _ = event.ParseSubject(subject)
	if d.Event, err = event.Decode(subject, body); err != nil {
		return fault.Wrap(fault.Invalid, "unreadable-event", "The event could not be read.", err)
	}
	return nil
}

// extendLease tells the server that a message is being worked on, until the
// returned function is called.
func extendLease(msg jetstream.Msg, every time.Duration) func() {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = msg.InProgress() // where it is lost, the message comes again
			case <-done:
				return
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// guard turns a panic into an error: one bad event must not end the process.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}
