package bus

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
)

// Listener hears broadcasts on any number of subjects through one channel: a
// subscription costs a map entry, not a goroutine.
type Listener struct {
	bus      *Bus
	messages chan *nats.Msg

	mu   sync.Mutex
	subs map[string]*nats.Subscription
}

// Listen prepares a listener that holds up to size messages that Run has not
// yet handed on. What comes on top of them is dropped, as broadcasts may be.
func (b *Bus) Listen(size int) *Listener {
	return &Listener{bus: b, messages: make(chan *nats.Msg, size), subs: map[string]*nats.Subscription{}}
}

// Add starts to hear subject and returns when the server knows. While the
// server is away the subscription waits for it, and Add returns without.
func (l *Listener) Add(ctx context.Context, subject string) error {
	if err := l.subscribe(subject); err != nil {
		return err
	}
	if err := l.bus.Ping(ctx); err != nil {
		l.bus.log.Debug().Err(err).Msg("listening before the bus answers")
	}
	return nil
}

func (l *Listener) subscribe(subject string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs[subject] != nil {
		return nil
	}
	sub, err := l.bus.nc.ChanSubscribe(l.bus.cfg.Namespace.Subject(subject), l.messages)
	if err != nil {
		return translate("listen to "+subject, err)
	}
	l.subs[subject] = sub
	return nil
}

// Remove stops hearing subject.
func (l *Listener) Remove(subject string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	sub := l.subs[subject]
	if sub == nil {
		return nil
	}
	delete(l.subs, subject)
	if err := sub.Unsubscribe(); err != nil {
		return fmt.Errorf("stop listening to %s: %w", subject, err)
	}
	return nil
}

// Run hands every message to hear until ctx ends.
func (l *Listener) Run(ctx context.Context, hear func(subject string, body []byte)) error {
	for {
		select {
		case msg := <-l.messages:
			hear(l.bus.cfg.Namespace.Strip(msg.Subject), msg.Data)
		case <-ctx.Done():
			return nil
		}
	}
}
