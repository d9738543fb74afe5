package joblog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/wait"
)

// Append appends a state event to its job's log and returns the sequence of the event. The
// parameter after is the sequence of the last event that the caller knows in the log, or 0 if it
// knows none. If the log has a newer event, Append appends nothing and returns
// event.ErrLogConflict.
//
// Append may be called again with an event that it has appended, for example because the response
// was lost: it succeeds again and returns the sequence of that event.
func (s *Store) Append(ctx context.Context, e event.Event, after uint64) (uint64, error) {
	seq, err := s.compareAndAppend(ctx, e, after)
	if !errors.Is(err, event.ErrLogConflict) {
		return seq, err
	}
	last, readErr := s.stream.LastFromLeader(ctx, event.Subject(e)) // read from the leader, since a replica may not have the event yet
	if readErr != nil {
		return 0, readErr
	}
	if last != nil {
		if stored, decodeErr := event.Decode(last.Subject, last.Data); decodeErr == nil && event.ID(stored) == event.ID(e) {
			return last.Seq, nil
		}
	}
	return 0, err
}

func (s *Store) compareAndAppend(ctx context.Context, e event.Event, after uint64) (uint64, error) {
	return s.bus.PublishExpecting(ctx, e, event.LogSubject(e.Job()), after)
}

// maxRounds limits how often Update calls decide. A round ends with a conflict only if another
// writer appends an event, and a job's log has few events.
const maxRounds = 16

// conflictPause is the longest pause between two rounds: in a cluster the event that caused the
// conflict may not be readable at once.
const conflictPause = 20 * time.Millisecond

// Update reads a job's log, calls decide with it, and appends the event that decide returns. If
// another writer appended first, Update reads the log and calls decide again; it fails with
// fault.Unavailable after 16 such rounds. If decide returns nil, nothing is appended. Update
// returns the log with which decide was last called, with the appended event at its end.
//
// If known is not empty, the first round uses it instead of reading the log: if known is out of
// date, the append is a conflict. known may lack events that decide does not need.
func (s *Store) Update(ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error) {
	read := s.readAny // the log may be out of date: the append is then a conflict
	for range maxRounds {
		log, err := known, error(nil)
		if known = nil; len(log) == 0 {
			log, err = read(ctx, job)
		}
		if err != nil {
			return nil, err
		}
		read = s.Read
		e, err := decide(log)
		if err != nil || e == nil {
			newest, readErr := s.isNewest(ctx, job, log)
			if readErr != nil {
				return nil, readErr
			}
			if newest {
				return log, err
			}
			continue
		}
		seq, err := s.compareAndAppend(ctx, e, log.Seq())
		if err == nil {
			return append(slices.Clip(log), event.Record{Event: e, Seq: seq, Time: time.Now()}), nil
		}
		if !errors.Is(err, event.ErrLogConflict) {
			return nil, err
		}
		if err := wait.For(ctx, rand.N(conflictPause)); err != nil {
			return nil, err
		}
	}
	return nil, contended(job)
}

// contended returns the error of an update whose rounds all ended with a conflict.
func contended(job string) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "contended", RetryAfter: time.Second,
		Detail: "The job is changing too fast right now. Please try again.",
		Err:    fmt.Errorf("update the log of job %s: %w", job, event.ErrLogConflict),
	}
}
