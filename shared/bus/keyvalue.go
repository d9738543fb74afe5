package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
)

// KeyValue is a key-value bucket of JetStream. It is safe for concurrent use.
type KeyValue struct{ kv jetstream.KeyValue }

// KeyValue opens a key-value bucket. It creates the bucket if it does not exist; without
// Config.Provision it fails with fault.Unavailable instead.
func (b *Bus) KeyValue(ctx context.Context, bucket string) (*KeyValue, error) {
	kv, _, err := b.ensureBucket(ctx, bucket)
	if err != nil {
		return nil, err
	}
	if _, done := b.replicated.LoadOrStore(bucket, true); !done {
		if _, err := b.replicateBucket(ctx, bucket); err != nil { // the bucket can be used as it is
			b.log.Warn().Err(err).Str("resource", "bucket "+bucket).Msg("number of replicas not changed")
		}
	}
	return kv, nil
}

func (b *Bus) ensureBucket(ctx context.Context, bucket string) (*KeyValue, Action, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	name, action := b.cfg.Namespace.Stream(bucket), Unchanged
	kv, err := b.js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if !b.cfg.Provision {
			return nil, Unchanged, notProvisioned("bucket " + bucket)
		}
		action = Created
		kv, err = b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, Replicas: b.cfg.Replicas})
	}
	if err != nil {
		return nil, Unchanged, translate("open the bucket "+bucket, err)
	}
	return &KeyValue{kv}, action, nil
}

// replicateBucket gives a bucket the number of replicas in the settings, which may have changed since
// the bucket was created, for example because a single server has become a cluster. Without
// Config.Provision it changes nothing.
func (b *Bus) replicateBucket(ctx context.Context, bucket string) (Action, error) {
	const prefix = "KV_" // of the names of the streams in which buckets are stored
	tried := "replicate the bucket " + bucket
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	stream, err := b.js.Stream(ctx, prefix+b.cfg.Namespace.Stream(bucket))
	if err != nil {
		return Unchanged, translate(tried, err)
	}
	wanted := stream.CachedInfo().Config
	if wanted.Replicas == b.cfg.Replicas {
		return Unchanged, nil
	}
	if !b.cfg.Provision {
		b.warnOfDifference("bucket " + bucket)
		return Unchanged, nil
	}
	wanted.Replicas = b.cfg.Replicas
	if _, err := b.js.UpdateStream(ctx, wanted); err != nil {
		return Unchanged, translate(tried, err)
	}
	return Updated, nil
}

// Get returns the value of a key and its revision. The revision is 0 if the key does not exist.
func (k *KeyValue) Get(ctx context.Context, key string) (value string, revision uint64, err error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	entry, err := k.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, translate("read the key "+key, err)
	}
	return string(entry.Value()), entry.Revision(), nil
}

// CompareAndSet sets a key if it still has the given revision. Revision 0 means that the key must
// not exist. It returns false if another writer was first.
func (k *KeyValue) CompareAndSet(ctx context.Context, key, value string, revision uint64) (bool, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	var err error
	if revision == 0 {
		_, err = k.kv.Create(ctx, key, []byte(value))
	} else {
		_, err = k.kv.Update(ctx, key, []byte(value), revision)
	}
	err = translate("write the key "+key, err)
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, event.ErrLogConflict) {
		return false, nil
	}
	return err == nil, err
}
