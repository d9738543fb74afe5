package coordination

import (
	"context"
	"fmt"

	"sori.internal/shared/bus"
)

// Slots limit how many jobs do something at once, over all replicas of a service. Each of n keys
// names the job that holds it.
//
// A slot needs no release and does not expire: a job that needs one asks of each holder whether it is
// done. A process that dies therefore leaks no slot, and no slot is free while its holder is not
// done. Writers compare revisions, so that one of them gets the slot.
type Slots struct {
	bus    *bus.Bus
	bucket string
	n      int
}

// NewSlots returns the n slots of a bucket. All replicas should have the same n; while they differ,
// the largest applies.
func NewSlots(b *bus.Bus, bucket string, n int) *Slots { return &Slots{bus: b, bucket: bucket, n: n} }

// slot is a slot as it was read.
type slot struct {
	key, holder string
	revision    uint64 // 0 if it was never held
}

func (s *Slots) read(ctx context.Context, kv *bus.KeyValue) ([]slot, error) {
	all := make([]slot, s.n)
	for i := range all {
		key := fmt.Sprintf("slot.%d", i+1)
		holder, revision, err := kv.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		all[i] = slot{key: key, holder: holder, revision: revision}
	}
	return all, nil
}

// Take gives a job a slot, or finds the one that it holds. It returns false if all slots are held by
// jobs that are not done.
func (s *Slots) Take(ctx context.Context, job string, done func(ctx context.Context, holder string) (bool, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	kv, err := s.bus.KeyValue(ctx, s.bucket)
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
		taken, err := kv.CompareAndSet(ctx, slot.key, job, slot.revision)
		if taken || err != nil {
			return taken, err
		}
	}
	return false, nil
}

// Release frees the slot of a job that does not continue for now.
func (s *Slots) Release(ctx context.Context, job string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	kv, err := s.bus.KeyValue(ctx, s.bucket)
	if err != nil {
		return err
	}
	all, err := s.read(ctx, kv)
	if err != nil {
		return err
	}
	for _, slot := range all {
		if slot.holder == job {
			_, err = kv.CompareAndSet(ctx, slot.key, "", slot.revision)
		}
	}
	return err
}
