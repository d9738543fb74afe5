// Package coordination stores state that the replicas of a service share and that outlives them:
// flags that are set once, in a key-value bucket of JetStream.
package coordination

import (
	"context"
	"sync/atomic"
	"time"

	"sori.internal/shared/bus"
)

// timeout limits one operation on a flag.
const timeout = 5 * time.Second

// Flag is a boolean that all replicas of a service share. Once it is set, it stays set. It is safe
// for concurrent use.
type Flag struct {
	bus         *bus.Bus
	bucket, key string
	set         atomic.Bool // this process knows that the flag is set
}

// NewFlag returns the flag with a key in a bucket. A key consists of letters, digits and the
// characters "-/_=.", and must not begin or end with a dot.
func NewFlag(b *bus.Bus, bucket, key string) *Flag { return &Flag{bus: b, bucket: bucket, key: key} }

// Set sets the flag.
func (f *Flag) Set(ctx context.Context) error {
	if f.set.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	kv, err := f.bus.KeyValue(ctx, f.bucket)
	if err != nil {
		return err
	}
	if _, err := kv.CompareAndSet(ctx, f.key, "", 0); err != nil { // the result is false if the flag was set before, which is no error
		return err
	}
	f.set.Store(true)
	return nil
}

// IsSet reports whether the flag is set.
func (f *Flag) IsSet(ctx context.Context) (bool, error) {
	if f.set.Load() {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	kv, err := f.bus.KeyValue(ctx, f.bucket)
	if err != nil {
		return false, err
	}
	_, revision, err := kv.Get(ctx, f.key)
	if err != nil || revision == 0 {
		return false, err
	}
	f.set.Store(true)
	return true, nil
}
