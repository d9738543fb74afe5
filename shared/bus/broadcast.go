package bus

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
)

// Broadcast publishes a message to the current subscribers. No stream stores it.
func (b *Bus) Broadcast(subject string, body []byte) error {
	if err := b.nc.Publish(b.cfg.Namespace.Subject(subject), body); err != nil {
		return translate("broadcast", err)
	}
	return nil
}

// Subscriber receives the broadcasts on any number of subjects through one channel, so that a
// subscription needs no goroutine.
type Subscriber struct {
	bus      *Bus
	messages chan *nats.Msg

	mu   sync.Mutex
	subs map[string]*nats.Subscription
}

// NewSubscriber makes a subscriber that buffers up to size messages for Run. Further messages are
// dropped.
func (b *Bus) NewSubscriber(size int) *Subscriber {
	return &Subscriber{bus: b, messages: make(chan *nats.Msg, size), subs: map[string]*nats.Subscription{}}
}

// Subscribe subscribes to a subject and returns when the server has the subscription. If the server
// is unavailable, Subscribe returns without waiting, and the subscription begins when the
// connection is restored.
func (s *Subscriber) Subscribe(ctx context.Context, subject string) error {
	if err := s.subscribe(subject); err != nil {
		return err
	}
	if err := s.bus.Ping(ctx); err != nil {
		s.bus.log.Debug().Err(err).Msg("subscribed while the bus is unavailable")
	}
	return nil
}

func (s *Subscriber) subscribe(subject string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs[subject] != nil {
		return nil
	}
	sub, err := s.bus.nc.ChanSubscribe(s.bus.cfg.Namespace.Subject(subject), s.messages)
	if err != nil {
		return translate("subscribe to "+subject, err)
	}
	s.subs[subject] = sub
	return nil
}

// Unsubscribe ends the subscription to a subject.
func (s *Subscriber) Unsubscribe(subject string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subs[subject]
	if sub == nil {
		return nil
	}
	delete(s.subs, subject)
	if err := sub.Unsubscribe(); err != nil {
		return fmt.Errorf("unsubscribe from %s: %w", subject, err)
	}
	return nil
}

// Run calls handle with every message until ctx ends.
func (s *Subscriber) Run(ctx context.Context, handle func(subject string, body []byte)) error {
	for {
		select {
		case msg := <-s.messages:
			handle(s.bus.cfg.Namespace.Strip(msg.Subject), msg.Data)
		case <-ctx.Done():
			return nil
		}
	}
}
