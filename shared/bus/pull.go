package bus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/logging"
	"sori.internal/shared/wait"
)

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
