package analysis

import (
	"cmp"
	"context"
	"slices"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
)

// Slot is the right to one of the analyses that may run at the same time, over all replicas. The
// fields are as they were when the slot was read.
type Slot struct {
	Index    int
	Job      string // job that got the slot last; "" if there is none, or if its slot was released
	Entry    uint64 // stream sequence of the queue entry that got the slot; 0 if the attempt was not queued
	Revision uint64
}

// Slots stores the slots for all replicas.
//
// A slot is free if the job in it has ended, or if the slot was released. A process that needs a
// slot reads the logs of the jobs in the slots. Therefore slots need no expiry, and a process that
// dies leaks no slot.
type Slots interface {
	// Read returns all slots.
	Read(ctx context.Context) ([]Slot, error)
	// Write stores a slot. It returns false if another process has written the slot since it was
	// read.
	Write(ctx context.Context, s Slot) (bool, error)
}

// takeSlot reports whether a job has a slot, so that its attempt may be sent. A job without a slot
// gets a free one only if the queue is empty. Otherwise takeSlot adds the attempt to the queue and
// returns false: the event `granted` will cause the attempt, so the event that is being handled
// need not be redelivered.
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

// takeFreeSlot assigns a free slot to a job that has none. It returns false if no slot is free.
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

// occupancy describes which slots are in use. It identifies owners by their keys (ownerKey).
type occupancy struct {
	free    []Slot
	jobs    map[string]Slot // the slots in use, by job
	running map[string]int  // the number of slots in use, by owner
	last    string          // owner of the job that got a slot last
}

// readOccupancy reads the logs of the jobs in the slots, and returns which slots are in use.
func (d *Dispatcher) readOccupancy(ctx context.Context, all []Slot) (occupancy, error) {
	now := occupancy{jobs: map[string]Slot{}, running: map[string]int{}}
	slices.SortFunc(all, func(a, b Slot) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, slot := range all {
		// If two replicas grant the same attempt at the same time, its job may occupy two slots.
		// The newer slot then counts as free.
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

// add adds a slot to those in use. Slots are added in the order in which they were written.
func (o *occupancy) add(slot Slot, owner string) {
	o.jobs[slot.Job] = slot
	o.running[owner]++
	o.last = owner
}

// next returns the owner who gets the next slot: the owner with the fewest running analyses. If
// several owners have the fewest, it is the one that follows the owner who got the last slot, in
// cyclic order. owners is sorted and not empty.
func (o *occupancy) next(owners []string) string {
	after, _ := slices.BinarySearch(owners, o.last+" ") // a blank sorts before the digits of keys: the first owner after o.last
	turns := slices.Concat(owners[after:], owners[:after])
	return slices.MinFunc(turns, func(a, b string) int { return cmp.Compare(o.running[a], o.running[b]) })
}

// releaseSlot frees the slot of a job whose attempt is delayed. If the request was aborted because
// this process stops, the job keeps its slot, since the server may be analysing it.
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
