package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
)

// Slots bounds how many jobs do something at once, over all replicas of a service. Each
// of n keys names the job that holds it.
//
// Nothing has to be given back for a slot to become free, and nothing expires: whoever
// needs one asks of each holder whether it is done. A process that dies therefore leaves
// nothing behind, and a slot is never free while its holder is not done. Writers compare
// revisions, so that one of them has a slot.
type Slots struct {
	bus  *Bus
	name string
	n    int
}

// Slots are n slots of a name. Replicas should agree on n; while they differ, the
// greater counts.
func (b *Bus) Slots(name string, n int) *Slots { return &Slots{bus: b, name: name, n: n} }

func (s *Slots) store(ctx context.Context) (jetstream.KeyValue, error) {
	return s.bus.keyValue(ctx, s.name)
}

// keyValue opens a key-value bucket, and makes it where there is none.
func (b *Bus) keyValue(ctx context.Context, name string) (jetstream.KeyValue, error) {
	kv, err := b.js.KeyValue(ctx, b.cfg.Namespace.Stream(name))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: b.cfg.Namespace.Stream(name), Replicas: b.cfg.Replicas,
		})
	}
	return kv, translate("open the bucket "+name, err)
}

// held is a slot as it was read.
type held struct {
	key, holder string
	revision    uint64 // 0 where nobody ever had it
}

func (s *Slots) read(ctx context.Context, kv jetstream.KeyValue) ([]held, error) {
	all := make([]held, s.n)
	for i := range all {
		all[i].key = fmt.Sprintf("slot.%d", i+1)
		entry, err := kv.Get(ctx, all[i].key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, translate("read slot "+all[i].key, err)
		}
		all[i].holder, all[i].revision = string(entry.Value()), entry.Revision()
	}
	return all, nil
}

// Take gives a job a slot, or finds the one that it has; false where all are held by
// jobs that are not done.
func (s *Slots) Take(ctx context.Context, job string, done func(ctx context.Context, holder string) (bool, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := s.store(ctx)
	if err != nil {
		return false, err
	}
	all, err := s.read(ctx, kv)
	if err != nil {
		return false, err
	}
	for _, slot := range all {
		if slot.holder == job {
			return true, nil
		}
	}
	for _, slot := range all {
		free := slot.holder == ""
		if !free {
			if free, err = done(ctx, slot.holder); err != nil {
				return false, err
			}
		}
		if !free {
			continue
		}
		taken, err := s.write(ctx, kv, slot, job)
		if taken || err != nil {
			return taken, err
		}
	}
	return false, nil
}

// write puts a holder into a slot that is as it was read; false where another writer was
// quicker.
func (s *Slots) write(ctx context.Context, kv jetstream.KeyValue, slot held, holder string) (bool, error) {
	var err error
	if slot.revision == 0 {
		_, err = kv.Create(ctx, slot.key, []byte(holder))
	} else {
		_, err = kv.Update(ctx, slot.key, []byte(holder), slot.revision)
	}
	err = translate("write slot "+slot.key, err)
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, event.ErrLogConflict) {
		return false, nil
	}
	return err == nil, err
}

// Release frees the slot of a job that does not go on for now.
func (s *Slots) Release(ctx context.Context, job string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := s.store(ctx)
	if err != nil {
		return err
	}
	all, err := s.read(ctx, kv)
	if err != nil {
		return err
	}
	for _, slot := range all {
		if slot.holder == job {
			_, err = s.write(ctx, kv, slot, "")
		}
	}
	return err
}
