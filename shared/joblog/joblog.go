// Package joblog reads and appends the logs of jobs.
//
// A job's log is linear: an event is appended only if the log still ends with the event that the
// writer saw (compare-and-append). Of several concurrent writers exactly one appends its event; the
// others get a conflict (event.ErrLogConflict), read the log again and decide again. Update does
// all of this.
//
// The log is stored in the stream of jobs, on one subject for each event of a job. NATS checks the
// expected sequence over all of these subjects.
package joblog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Store reads and writes the logs of all jobs. It is safe for concurrent use.
type Store struct {
	bus    *bus.Bus
	stream *bus.Stream
}

// New makes a Store of the stream of jobs.
func New(b *bus.Bus) *Store { return &Store{bus: b, stream: b.Stream(event.Jobs())} }

// readTimeout limits one reading of a log, which may need several requests.
const readTimeout = 5 * time.Second

// Read reads a job's log: the newest event on each of its subjects, oldest first. The log is empty
// for a job that does not exist. It contains every event that the leader of the stream has, even if
// another replica answers.
func (s *Store) Read(ctx context.Context, job string) (event.Log, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	log, err := s.readAny(ctx, job)
	if err != nil {
		return nil, err
	}
	newest, err := s.isNewest(ctx, job, log)
	if err != nil || newest {
		return log, err
	}
	return s.readFromLeader(ctx, job)
}

// readAny reads a job's log from any replica, which may lag. An append to a log that is out of date
// is a conflict.
func (s *Store) readAny(ctx context.Context, job string) (event.Log, error) {
	messages, err := s.stream.LastPerSubject(ctx, event.LogSubject(job))
	if err != nil {
		return nil, fmt.Errorf("read the log of job %s: %w", job, err)
	}
	var log event.Log
	for i := range messages {
		r, err := record(&messages[i])
		if err != nil {
			return nil, fmt.Errorf("read the log of job %s: %w", job, err)
		}
		log = append(log, r)
	}
	return log, nil
}

// isNewest reports whether a log ends with the event with which it ends on the leader of the
// stream. Without a cluster no replica can lag.
func (s *Store) isNewest(ctx context.Context, job string, log event.Log) (bool, error) {
	if !s.bus.Clustered() && len(log) > 0 {
		return true, nil
	}
	last, err := s.stream.LastFromLeader(ctx, event.LogSubject(job))
	return last == nil || last.Seq <= log.Seq(), err
}

// readFromLeader reads a job's log from the leader, event by event.
func (s *Store) readFromLeader(ctx context.Context, job string) (event.Log, error) {
	var log event.Log
	for after := uint64(0); ; {
		m, err := s.stream.NextFromLeader(ctx, event.LogSubject(job), after+1)
		if err != nil || m == nil {
			return log, err
		}
		r, err := record(m)
		if err != nil {
			return nil, fmt.Errorf("read the log of job %s: %w", job, err)
		}
		log = slices.DeleteFunc(log, func(earlier event.Record) bool { return event.Subject(earlier.Event) == m.Subject })
		log, after = append(log, r), m.Seq
	}
}

// record decodes a message of a log. A message that cannot be decoded becomes event.Unreadable: if
// it made the whole log unreadable, the job could never end.
func record(m *bus.Message) (event.Record, error) {
	r := event.Record{Seq: m.Seq, Time: m.Time}
	e, err := event.Decode(m.Subject, m.Data)
	if err == nil {
		r.Event = e
		return r, nil
	}
	job, name, err := event.ParseSubject(m.Subject)
	r.Event = event.Unreadable{JobID: job, Of: name}
	return r, err
}

// Received returns the event with which a job's log begins, and when it was published. It returns nil
// if there is none.
func (s *Store) Received(ctx context.Context, job string) (*event.Received, time.Time, error) {
	return last[event.Received](ctx, s, event.SubjectOf(job, event.NameReceived))
}

// Newest returns the event with which a job's log ends on the leader of the stream, or nil if the
// log is empty. Newest needs one request and one response, while Read gets a message for each event
// of the log.
func (s *Store) Newest(ctx context.Context, job string) (*event.Record, error) {
	m, err := s.stream.LastFromLeader(ctx, event.LogSubject(job))
	if err != nil || m == nil {
		return nil, err
	}
	r, err := record(m)
	if err != nil {
		return nil, fmt.Errorf("read the end of the log of job %s: %w", job, err)
	}
	return &r, nil
}

// LastProgress returns the newest progress of the analysis of a job, and when it was published. It
// returns nil if there is none.
func (s *Store) LastProgress(ctx context.Context, job string) (*event.Progressed, time.Time, error) {
	return last[event.Progressed](ctx, s, event.Subject(event.Progressed{JobID: job}))
}

// LastWaiting returns the newest waiting event of a job, and when it was published. It returns nil
// if there is none.
func (s *Store) LastWaiting(ctx context.Context, job string) (*event.Waiting, time.Time, error) {
	return last[event.Waiting](ctx, s, event.Subject(event.Waiting{JobID: job}))
}

// last returns the newest event on a subject, and when it was published. An event that cannot be
// decoded counts as none.
func last[E event.Event](ctx context.Context, s *Store, subject string) (*E, time.Time, error) {
	m, err := s.stream.Last(ctx, subject)
	if err != nil || m == nil {
		return nil, time.Time{}, err
	}
	decoded, err := event.Decode(m.Subject, m.Data)
	e, ok := decoded.(E)
	if err != nil || !ok {
		return nil, time.Time{}, nil //nolint:nilerr // as above
	}
	return &e, m.Time, nil
}

// Purge removes the progress events of an erased job, and the events of its log before the event
// `erased`. The parameter erased is the sequence of this event, which stays, so that nothing more
// can be appended to the log.
//
// A consumer that is handling one of the removed events can settle it as usual, but the event is
// not redelivered. A caller that relies on the consumer's work must therefore wait until the
// consumer has settled the event (Bus.Settled) before it calls Purge.
func (s *Store) Purge(ctx context.Context, job string, erased uint64) error {
	if err := s.stream.Purge(ctx, event.LogSubject(job), erased); err != nil {
		return err
	}
	return s.stream.Purge(ctx, event.ProgressSubject(job), 0)
}
