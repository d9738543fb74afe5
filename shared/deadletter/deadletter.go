// Package deadletter lists, reads, replays and deletes dead letters, for operators.
//
// A dead letter is a message that no retry can process. The consumer stores it with the reason
// before it terminates the message (package bus). The event itself stays in its job's log.
package deadletter

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// DeadLetter is a message that a consumer rejected, with the reason.
type DeadLetter struct {
	Seq        uint64    `json:"seq"` // sequence in the stream of dead letters; operators select the dead letter by this number
	Consumer   string    `json:"consumer"`
	Subject    string    `json:"subject"`    // subject of the event
	EventSeq   uint64    `json:"event_seq"`  // sequence of the event in its own stream
	Job        string    `json:"job_id"`     // empty if the event is not about a job
	Code       string    `json:"code"`       // code of the failure
	Reason     string    `json:"reason"`     // detail of the failure
	Deliveries uint64    `json:"deliveries"` // how often the event was delivered
	At         time.Time `json:"buried"`     // when the dead letter was stored
	Trace      string    `json:"trace_id,omitempty"`
	Body       []byte    `json:"-"` // only from Get
}

// Store reads and deletes the dead letters of all consumers. It is safe for concurrent use.
type Store struct {
	bus    *bus.Bus
	stream *bus.Stream
	index  index
}

// New makes a Store of the stream of dead letters.
func New(b *bus.Bus) *Store { return &Store{bus: b, stream: b.Stream(event.Dead())} }

// List returns the dead letters of a consumer, or of all consumers if the name is empty, oldest
// first. It leaves out their bodies: one may have half a megabyte, and there may be thousands.
func (s *Store) List(ctx context.Context, consumer string) ([]DeadLetter, error) {
	filter := event.AllDead
	if consumer != "" {
		filter = event.DeadSubject(consumer)
	}
	var letters []DeadLetter
	err := s.stream.Scan(ctx, false, []string{filter}, func(m bus.Message) error {
		letters = append(letters, parse(&m))
		return nil
	})
	return letters, err
}

// Get returns the dead letter with a sequence. It fails with fault.NotFound if there is none.
func (s *Store) Get(ctx context.Context, seq uint64) (DeadLetter, error) {
	m, err := s.stream.Get(ctx, seq)
	if err != nil {
		return DeadLetter{}, err
	}
	if m == nil {
		return DeadLetter{}, fault.New(fault.NotFound, "letter-not-found", fmt.Sprintf("There is no dead letter %d.", seq))
	}
	return parse(m), nil
}

// Delete deletes the dead letter with the sequence number seq. The event itself stays in the log of
// its job. Delete fails with fault.NotFound if there is no such dead letter.
func (s *Store) Delete(ctx context.Context, seq uint64) error {
	if _, err := s.Get(ctx, seq); err != nil { // Stream.Delete does not report whether the dead letter existed
		return err
	}
	return s.stream.Delete(ctx, seq)
}

// DeleteOfJob deletes the dead letters of a job, except those of its event `erased`, which an
// operator still has to handle. Only the first call reads all dead letters; a later call reads
// those that were stored since.
func (s *Store) DeleteOfJob(ctx context.Context, job string) error {
	seqs, err := s.index.find(ctx, s.stream, job)
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		if err := s.Delete(ctx, seq); err != nil && !fault.Is(err, fault.NotFound) {
			return fmt.Errorf("delete the dead letters of job %s: %w", job, err)
		}
	}
	return nil
}

// Replay makes the consumer that rejected an event handle it again, and deletes the dead letter if
// the handler succeeds. It waits for the handler at most as long as the parameter wait. If the
// process dies before it deletes the dead letter, a second replay has no further effect.
func (s *Store) Replay(ctx context.Context, l DeadLetter, wait time.Duration) error {
	replayCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := s.bus.Replay(replayCtx, l.Consumer, l.EventSeq); err != nil {
		return err
	}
	return s.Delete(ctx, l.Seq)
}

func parse(m *bus.Message) DeadLetter {
	l := DeadLetter{
		Seq: m.Seq, Consumer: event.ParseDeadSubject(m.Subject), Subject: m.Header.Get(bus.HeaderSubject),
		Code: m.Header.Get(bus.HeaderCode), Reason: m.Header.Get(bus.HeaderReason), At: m.Time, Trace: m.TraceID(), Body: m.Data,
	}
	l.Job, _, _ = event.ParseSubject(l.Subject)
	l.EventSeq, _ = strconv.ParseUint(m.Header.Get(bus.HeaderSequence), 10, 64) // 0 if the header is malformed: no event has the sequence 0, so a replay fails
	l.Deliveries, _ = strconv.ParseUint(m.Header.Get(bus.HeaderDeliveries), 10, 64)
	return l
}
