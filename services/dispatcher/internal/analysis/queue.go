package analysis

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/wait"
)

// If the number of concurrent analyses is limited, an attempt that finds no free slot waits in the
// queue. Each replica schedules the queue (RunQueue) in three steps: it assigns a free slot to the
// next attempt, publishes the event `granted`, and removes the attempt from the queue. The consumer
// of this event sends the attempt. If a replica crashes between two steps, the attempt has a slot
// and is still in the queue. Then the next replica that schedules the queue performs the remaining
// steps.

// Entry is an attempt in the queue.
type Entry struct {
	JobID   string // empty if the entry cannot be read
	Attempt int
	Owner   string // key of the job's owner (event.OwnerKey)
	Trace   string // traceparent of the event that caused the attempt; Add sets it if it is empty
	Seq     uint64 // stream sequence: an older entry has a smaller one
}

// QueueState is the length of the queue and the age of its oldest entry.
type QueueState struct {
	Length uint64
	Oldest time.Time // when the oldest entry was added; zero if there is none
}

// Queue stores the attempts that wait for a slot, for all replicas.
type Queue interface {
	// Add adds an attempt. It returns when the attempt is durable.
	Add(ctx context.Context, e Entry) error
	// State returns the state of the queue.
	State(ctx context.Context) (QueueState, error)
	// Owners returns the keys of the owners of all entries, each once.
	Owners(ctx context.Context) ([]string, error)
	// Next returns the oldest entry of an owner whose sequence is at least the parameter from; nil
	// if there is none. The empty owner means all owners.
	Next(ctx context.Context, owner string, from uint64) (*Entry, error)
	// Remove removes an entry, or does nothing if the entry is removed already.
	Remove(ctx context.Context, e *Entry) error
	// Grant publishes that an attempt may be sent, and then removes its entry. Calling Grant again
	// for the same entry has no effect. unlimited means that the attempt needs no slot.
	Grant(ctx context.Context, e *Entry, unlimited bool) error
}

// ownerKey identifies the owner of a job in the queue. Jobs without an owner share one key.
func ownerKey(log event.Log) string {
	received, _ := event.Last[event.Received](log)
	erased, _ := event.Last[event.Erased](log)
	return event.OwnerKey(cmp.Or(received.Owner, erased.Owner))
}

// enqueue adds an attempt to the queue. It publishes that the attempt waits, without the time at
// which the attempt will be sent, since this time is not known.
func (d *Dispatcher) enqueue(ctx context.Context, job string, a attempt, log event.Log) error {
	d.publishWaiting(ctx, event.Waiting{JobID: job, Attempt: a.number, Since: time.Now().UTC(), Code: "analysis-full"})
	err := d.Queue.Add(ctx, Entry{JobID: job, Attempt: a.number, Owner: ownerKey(log)})
	d.wakeQueue()
	return err
}

// HandleGranted sends an attempt that has waited in the queue, or for the analysis of another job.
// An attempt from the queue has already begun. A job that waited for another job has not begun its
// attempt. If such a job was retried meanwhile, HandleRetried sends its attempt instead.
func (d *Dispatcher) HandleGranted(ctx context.Context, e event.Granted, delivery Delivery) error {
	log, err := d.Jobs.Read(ctx, e.JobID)
	if err != nil {
		return err
	}
	if !active(log) {
		return d.endWaitFor(ctx, e.JobID) // a job that ends while it is promoted must still end the wait of its followers
	}
	recording, err := recordingOf(log)
	if err != nil {
		return err
	}
	a := attempt{number: e.Attempt, backoff: delivery.Backoff, free: e.Unlimited, key: e.ResultKey, unsent: delivery.First}
	if e.ResultKey == "" {
		a.retry = newestOf(log).retried
	}
	return d.makeAttempt(ctx, recording, a, log)
}

// wakeQueue makes the scheduler of this process check the queue at once.
func (d *Dispatcher) wakeQueue() {
	if d.Slots == nil {
		return
	}
	select {
	case d.wake <- struct{}{}:
	default: // wake has a value already, which the scheduler has not received yet
	}
}

// The scheduler checks the queue when this process wakes it, and otherwise at these intervals:
// queueInterval while attempts wait, because other services and replicas end jobs, too;
// idleInterval while the queue is empty, and after an error.
const (
	queueInterval = 500 * time.Millisecond
	idleInterval  = 5 * time.Second
)

// RunQueue assigns free slots to the attempts in the queue until ctx ends. If the number of
// analyses is not limited, it grants the attempts that are left in the queue from a time when it
// was limited.
func (d *Dispatcher) RunQueue(ctx context.Context) error {
	s := scheduler{d}
	return wait.RepeatOrWake(ctx, d.wake, func(ctx context.Context) time.Duration {
		state, err := d.Queue.State(ctx)
		if err == nil {
			d.queued.Store(&state)
		}
		if err == nil && state.Length > 0 {
			err = s.schedule(ctx)
		}
		if err != nil && ctx.Err() == nil {
			zerolog.Ctx(ctx).Warn().Err(err).Str(logging.Kind, fault.KindOf(err).String()).Msg("queue not scheduled")
		}
		if err != nil || state.Length == 0 {
			return idleInterval
		}
		return queueInterval
	})
}

// scheduler assigns free slots to the attempts in the queue. The next slot goes to the owner with
// the fewest running analyses. If several owners have the fewest, they take turns.
type scheduler struct{ *Dispatcher }

func (s *scheduler) schedule(ctx context.Context) error {
	if err := s.trim(ctx); err != nil || s.Slots == nil {
		return err
	}
	all, err := s.Slots.Read(ctx)
	if err != nil {
		return err
	}
	now, err := s.readOccupancy(ctx, all)
	if err != nil {
		return err
	}
	if err := s.finishGrants(ctx, now); err != nil || s.Analyzer.Paused() > 0 {
		return err
	}
	owners, err := s.Queue.Owners(ctx)
	slices.Sort(owners)
	for err == nil && len(now.free) > 0 && len(owners) > 0 {
		owner := now.next(owners)
		var more bool
		if more, err = s.assign(ctx, owner, &now); !more {
			owners = slices.DeleteFunc(owners, func(o string) bool { return o == owner })
		}
	}
	return err
}

// trim removes the attempts at the head of the queue that must not be sent any more. If the number
// of analyses is not limited, it grants all other attempts.
func (s *scheduler) trim(ctx context.Context) error {
	for {
		head, err := s.Queue.Next(ctx, "", 0)
		if err != nil || head == nil {
			return err
		}
		waits, err := s.check(ctx, head)
		switch {
		case err != nil:
			return err
		case !waits:
			err = s.Queue.Remove(ctx, head)
		case s.Slots == nil && s.Analyzer.Paused() == 0:
			err = s.Queue.Grant(ctx, head, true)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// check reports whether the attempt of an entry must still be sent.
func (s *scheduler) check(ctx context.Context, e *Entry) (bool, error) {
	if e.JobID == "" {
		zerolog.Ctx(ctx).Error().Uint64(logging.Sequence, e.Seq).Msg("entry of the queue cannot be read")
		return false, nil
	}
	log, err := s.Jobs.Read(ctx, e.JobID)
	return waits(log, e), err
}

// finishGrants grants the attempts that have a slot and are still in the queue: another replica
// died before it granted them, or is granting them now.
func (s *scheduler) finishGrants(ctx context.Context, now occupancy) error {
	for _, slot := range now.jobs {
		if slot.Entry == 0 {
			continue
		}
		e, err := s.Queue.Next(ctx, "", slot.Entry)
		if err == nil && e != nil && e.Seq == slot.Entry {
			err = s.Queue.Grant(ctx, e, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// assign assigns a free slot to the oldest attempt of an owner and grants the attempt. It removes
// an attempt that must not be sent any more. assign returns false if no further attempt of the
// owner can be assigned now.
func (s *scheduler) assign(ctx context.Context, owner string, now *occupancy) (bool, error) {
	e, err := s.Queue.Next(ctx, owner, 0)
	if err != nil || e == nil {
		return false, err
	}
	waits, err := s.check(ctx, e)
	if err != nil {
		return false, err
	}
	if !waits {
		return true, s.Queue.Remove(ctx, e)
	}
	if _, running := now.jobs[e.JobID]; running {
		return false, s.postpone(ctx, e)
	}
	slot := now.free[0]
	slot.Job, slot.Entry = e.JobID, e.Seq
	taken, err := s.Slots.Write(ctx, slot)
	if err != nil {
		return false, err
	}
	if !taken { // another replica has taken the slot: schedule again
		now.free = nil
		s.wakeQueue()
		return false, nil
	}
	now.free = now.free[1:]
	now.add(slot, owner)
	return true, s.Queue.Grant(ctx, e, false)
}

// postpone moves an attempt to the end of the queue. The attempt was added twice, its job has a
// slot already, and the handler of another event is sending the attempt. The second entry is kept
// because that handler may fail and release the slot.
func (s *scheduler) postpone(ctx context.Context, e *Entry) error {
	if err := s.Queue.Add(ctx, *e); err != nil {
		return err
	}
	return s.Queue.Remove(ctx, e)
}

// Queued returns how many attempts wait in the queue, as of a few seconds ago.
func (d *Dispatcher) Queued() float64 { return float64(d.queued.Load().Length) }

// QueuedFor returns how long the oldest attempt in the queue has waited, in seconds; 0 if none waits.
func (d *Dispatcher) QueuedFor() float64 {
	oldest := d.queued.Load().Oldest
	if oldest.IsZero() {
		return 0
	}
	return time.Since(oldest).Seconds()
}
