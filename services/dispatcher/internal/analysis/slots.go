package analysis

import (
	"cmp"
	"context"
	"slices"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
)

// Slot is one of the slots that limit the number of concurrent analyses of all replicas, as of the
// time when it was read.
type Slot struct {
	Index    int
	Job      string // the job that got the slot last; empty if there is none, or if the job released the slot
	Entry    uint64 // the sequence in the queue of the attempt that got the slot; 0 if it did not wait
	Revision uint64
}

// Slots stores the slots for all replicas.
//
// A slot is free if its job has ended or has released it. A process that needs a slot reads the
// logs of the jobs in the slots. Therefore slots need not expire, and a process that dies leaks no
// slot.
type Slots interface {
	// Read returns all slots.
	Read(ctx context.Context) ([]Slot, error)
	// Write stores a slot. It returns false if the slot was written since it was read.
	Write(ctx context.Context, s Slot) (bool, error)
}

// takeSlot reports whether a job has a slot, so that its attempt may be sent. It takes a free slot
// unless attempts wait for one. Otherwise the attempt is in the queue when takeSlot returns, and
// the event that caused the attempt need not be delivered again.
func (d *Dispatcher) takeSlot(ctx context.Context, job string, a attempt, log event.Log) (bool, error) {
	if d.Slots == nil || a.free {
		return true, nil
	}
	all, err := d.Slots.Read(ctx)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(all, func(s Slot) bool { return s.Job == job }) {
		return true, nil
	}
	if queue, err := d.Queue.State(ctx); err != nil {
		return false, err
	} else if queue.Length == 0 {
		if taken, err := d.takeFreeSlot(ctx, job, all); taken || err != nil {
			return taken, err
		}
	}
	return false, d.enqueue(ctx, job, a, log)
}

// takeFreeSlot assigns a free slot to a job that has none. It returns false if there is none.
func (d *Dispatcher) takeFreeSlot(ctx context.Context, job string, all []Slot) (bool, error) {
	now, err := d.readOccupancy(ctx, all)
	if err != nil {
		return false, err
	}
	for _, slot := range now.free {
		slot.Job, slot.Entry = job, 0
		if taken, err := d.Slots.Write(ctx, slot); taken || err != nil {
			return taken, err
		}
	}
	return false, nil
}

// occupancy is the use of the slots at one time. Owners are keys (ownerKey).
type occupancy struct {
	free    []Slot
	jobs    map[string]Slot // the slots of jobs that have not ended
	running map[string]int  // the number of these jobs, by owner
	last    string          // the owner who got the last slot
}

// readOccupancy reads the logs of the jobs in the slots.
func (d *Dispatcher) readOccupancy(ctx context.Context, all []Slot) (occupancy, error) {
	now := occupancy{jobs: map[string]Slot{}, running: map[string]int{}}
	slices.SortFunc(all, func(a, b Slot) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, slot := range all {
		// Two replicas that grant the same attempt at the same time may take two slots.
		if _, twice := now.jobs[slot.Job]; slot.Job == "" || twice {
			now.free = append(now.free, slot)
			continue
		}
		log, err := d.Jobs.Read(ctx, slot.Job)
		if err != nil {
			return now, err
		}
		if owner := ownerKey(log); active(log) {
			now.add(slot, owner)
		} else {
			now.free, now.last = append(now.free, slot), owner
		}
	}
	return now, nil
}

// add adds a slot that was written after all others.
func (o *occupancy) add(slot Slot, owner string) {
	o.jobs[slot.Job] = slot
	o.running[owner]++
	o.last = owner
}

// next returns the owner whose turn it is: the one with the fewest running analyses. Of several such
// owners it is the first one after the owner who got the last slot, in a cyclic order. owners is
// sorted and not empty.
func (o *occupancy) next(owners []string) string {
	after, _ := slices.BinarySearch(owners, o.last+" ") // a blank comes before all characters of keys
	turns := slices.Concat(owners[after:], owners[:after])
	return slices.MinFunc(turns, func(a, b string) int { return cmp.Compare(o.running[a], o.running[b]) })
}

// releaseSlot frees the slot of a job whose attempt is delayed. If the request was aborted because
// this process stops, the job keeps its slot: the server may be working on it.
func (d *Dispatcher) releaseSlot(ctx context.Context, job string) {
	if d.Slots == nil || ctx.Err() != nil {
		return
	}
	all, err := d.Slots.Read(ctx)
	for _, slot := range all {
		if err == nil && slot.Job == job {
			slot.Job, slot.Entry = "", 0
			_, err = d.Slots.Write(ctx, slot)
		}
	}
	if err != nil { // the job keeps its slot until it ends
		zerolog.Ctx(ctx).Warn().Err(err).Msg("slot not released")
	}
	d.wakeQueue()
}
