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
// queue. Each replica schedules the queue (RunQueue): it assigns a free slot to the attempt whose
// turn it is, publishes granted, and removes the attempt from the queue, in this order. The consumer
// of granted sends the attempt. A crash between two of these steps leaves an attempt that has its
// slot and is still in the queue, and the next schedule of any replica continues.

// Entry is an attempt in the queue.
type Entry struct {
	JobID   string // empty if the entry cannot be read
	Attempt int
	Owner   string // key of the owner of the job
	Trace   string // traceparent of the event that caused the attempt; Add sets it if it is empty
	Seq     uint64 // sequence in the stream: an older entry has a smaller Seq
}

// QueueState is the number of attempts that wait, and since when the oldest waits.
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
	// Owners returns the keys of the owners of all entries.
	Owners(ctx context.Context) ([]string, error)
	// Next returns the oldest entry of an owner whose sequence is at least the parameter from; nil
	// if there is none. The empty owner means all owners.
	Next(ctx context.Context, owner string, from uint64) (*Entry, error)
	// Remove removes an entry, or does nothing if the entry is removed already.
	Remove(ctx context.Context, e *Entry) error
	// Grant publishes that an attempt may be sent, and then removes its entry. Further calls for
	// the same entry have no further effect.
	Grant(ctx context.Context, e *Entry, unlimited bool) error
}

// ownerKey identifies the owner of a job in the queue. Jobs without an owner share one key.
func ownerKey(log event.Log) string {
	received, _ := event.Last[event.Received](log)
	erased, _ := event.Last[event.Erased](log)
	return event.OwnerKey(cmp.Or(received.Owner, erased.Owner))
}

// enqueue adds an attempt to the queue, and publishes that it waits. The time at which it is sent is
// not known.
func (d *Dispatcher) enqueue(ctx context.Context, job string, a attempt, log event.Log) error {
	d.publishWaiting(ctx, event.Waiting{JobID: job, Attempt: a.number, Since: time.Now().UTC(), Code: "analysis-full"})
	err := d.Queue.Add(ctx, Entry{JobID: job, Attempt: a.number, Owner: ownerKey(log)})
	d.wakeQueue()
	return err
}

// HandleGranted sends an attempt that has waited, in the queue or for the analysis of another job.
// An attempt in the queue has begun already. A job that waited for another job has not begun its
// attempt: if the job was retried meanwhile, HandleRetried sends its attempt instead.
func (d *Dispatcher) HandleGranted(ctx context.Context, e event.Granted, backoff time.Duration) error {
	log, err := d.Jobs.Read(ctx, e.JobID)
	if err != nil {
		return err
	}
	if !active(log) {
		return d.settleLedBy(ctx, e.JobID) // the job may have ended before it was promoted
	}
	recording, err := recordingOf(log)
	if err != nil {
		return err
	}
	a := attempt{number: e.Attempt, backoff: backoff, free: e.Unlimited, key: e.ResultKey}
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
	default: // another call has woken the scheduler, which has not checked the queue yet
	}
}

// The time until the scheduler checks the queue again if nothing happens in this process:
// queueInterval while attempts wait, since other services and replicas end jobs too, and
// idleInterval while none waits or after an error.
const (
	queueInterval = 500 * time.Millisecond
	idleInterval  = 5 * time.Second
)

// RunQueue assigns free slots to the attempts in the queue until ctx ends. If the number of
// analyses is not limited, it grants all attempts that are still in the queue.
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

// scheduler assigns free slots to the attempts in the queue. The owner with the fewest running
// analyses is next. Several such owners take turns.
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

// trim removes the attempts at the beginning of the queue that need not be sent any more. Without a
// limit it grants the others.
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

// check reports whether an attempt is still to be sent.
func (s *scheduler) check(ctx context.Context, e *Entry) (bool, error) {
	if e.JobID == "" {
		zerolog.Ctx(ctx).Error().Uint64(logging.Sequence, e.Seq).Msg("entry of the queue cannot be read")
		return false, nil
	}
	log, err := s.Jobs.Read(ctx, e.JobID)
	return waits(log, e), err
}

// finishGrants grants the attempts that have a slot and are still in the queue, since a replica died
// or is just granting them.
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

// assign assigns a free slot to the oldest attempt of an owner and grants it. An attempt that need
// not be sent any more is removed instead. assign returns false if there is no further attempt for
// now.
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
	if !taken { // another replica is scheduling: check again
		now.free = nil
		s.wakeQueue()
		return false, nil
	}
	now.free = now.free[1:]
	now.add(slot, owner)
	return true, s.Queue.Grant(ctx, e, false)
}

// postpone moves an attempt whose job has a slot to the end of the queue. The attempt was added
// twice, and the consumer of another event is sending it. The entry is kept, since the attempt may
// be delayed and lose its slot.
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
