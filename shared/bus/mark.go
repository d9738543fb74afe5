package bus

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
)

// Mark is a fact that becomes true once and stays true. The replicas of a service share
// it, and it outlives them. It is safe for concurrent use.
type Mark struct {
	bus       *Bus
	name, key string
	set       atomic.Bool // as far as this process knows
}

// Mark is the mark of a key among those of a name. A key has letters, digits, and
// "-/_=." between them.
func (b *Bus) Mark(name, key string) *Mark { return &Mark{bus: b, name: name, key: key} }

// Set makes the fact true.
func (m *Mark) Set(ctx context.Context) error {
	if m.set.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := m.bus.keyValue(ctx, m.name)
	if err != nil {
		return err
	}
	_, err = kv.Create(ctx, m.key, nil)
	if err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return translate("set the mark "+m.key, err)
	}
	m.set.Store(true)
	return nil
}

// IsSet reports whether the fact is true.
func (m *Mark) IsSet(ctx context.Context) (bool, error) {
	if m.set.Load() {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := m.bus.keyValue(ctx, m.name)
	if err != nil {
		return false, err
	}
	_, err = kv.Get(ctx, m.key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, translate("read the mark "+m.key, err)
	}
	m.set.Store(true)
	return true, nil
}
