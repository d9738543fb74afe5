package coordination

import (
	"context"
	"fmt"

	"sori.internal/shared/bus"
)

// Slots limit how many jobs do something at once, over all replicas of a service. The value of each
// of n keys is the job that occupies the slot.
//
// A slot needs no release and does not expire: a job that needs a slot asks for each occupied one
// whether its job is done. Therefore a process that dies leaks no slot, and no slot becomes free
// before its job is done. Writers compare revisions, so that only one of them gets the slot.
type Slots struct {
	bus    *bus.Bus
	bucket string
	n      int
}

// NewSlots returns the n slots of a bucket. All replicas should have the same n; while they differ,
// the largest n applies.
func NewSlots(b *bus.Bus, bucket string, n int) *Slots { return &Slots{bus: b, bucket: bucket, n: n} }

// slot is the state of a slot when it was read.
type slot struct {
	key, holder string
	revision    uint64 // 0 if no job ever had the slot
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

// Take assigns a slot to a job, unless the job has one already. It returns false if all slots
// belong to jobs for which done returns false.
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

// Release frees the slot of a job that pauses.
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
