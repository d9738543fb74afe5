package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/bus"
)

// Slots stores each of n slots under a key of a bucket. The value is the job that got the slot
// last, and the sequence of its queue entry if it was queued. A write is a compare-and-set on the
// revision of the key, so that only one of several writers gets a slot.
type Slots struct {
	bus    *bus.Bus
	bucket string
	n      int
}

// NewSlots returns the n slots in a bucket. All replicas should have the same n. If they differ,
// the largest n is the limit.
func NewSlots(b *bus.Bus, bucket string, n int) *Slots { return &Slots{bus: b, bucket: bucket, n: n} }

// timeout is the time limit for reading all slots.
const timeout = 5 * time.Second

func key(index int) string { return fmt.Sprintf("slot.%d", index+1) }

// Read implements analysis.Slots.
func (s *Slots) Read(ctx context.Context) ([]analysis.Slot, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	kv, err := s.bus.KeyValue(ctx, s.bucket)
	if err != nil {
		return nil, err
	}
	all := make([]analysis.Slot, s.n)
	for i := range all {
		value, revision, err := kv.Get(ctx, key(i))
		if err != nil {
			return nil, err
		}
		job, seq, _ := strings.Cut(value, " ")
		entry, _ := strconv.ParseUint(seq, 10, 64) // entry is 0 if the value has no sequence
		all[i] = analysis.Slot{Index: i, Job: job, Entry: entry, Revision: revision}
	}
	return all, nil
}

// Write implements analysis.Slots.
func (s *Slots) Write(ctx context.Context, slot analysis.Slot) (bool, error) {
	kv, err := s.bus.KeyValue(ctx, s.bucket)
	if err != nil {
		return false, err
	}
	value := slot.Job
	if slot.Entry > 0 {
		value += " " + strconv.FormatUint(slot.Entry, 10)
	}
	return kv.CompareAndSet(ctx, key(slot.Index), value, slot.Revision)
}
