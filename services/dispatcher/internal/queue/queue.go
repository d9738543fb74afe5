// Package queue stores the state with which the replicas of the dispatcher limit concurrent
// analyses. A slot is the right to one of the analyses that may run at the same time. The slots are
// in a key-value bucket, and the attempts that wait for a slot are in a stream.
package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/trace"
)

// Queue stores the attempts that wait for a slot. All attempts of one owner have the same subject,
// so that the time to list the owners does not depend on the number of attempts. Queue is safe for
// concurrent use.
type Queue struct {
	bus    *bus.Bus
	stream *bus.Stream
}

// New makes the queue.
func New(b *bus.Bus) *Queue { return &Queue{bus: b, stream: b.Stream(event.Queue())} }

// entry is the body of a message. The key of the owner is in the subject.
type entry struct {
	JobID   string `json:"job_id"`
	Attempt int    `json:"attempt"`
	Trace   string `json:"traceparent,omitempty"`
}

// Add implements analysis.Queue.
func (q *Queue) Add(ctx context.Context, e analysis.Entry) error {
	body, err := json.Marshal(entry{JobID: e.JobID, Attempt: e.Attempt, Trace: cmp.Or(e.Trace, trace.Parent(ctx))})
	if err != nil {
		return fmt.Errorf("queue job %s: %w", e.JobID, err)
	}
	ack, err := q.bus.PublishBytes(event.QueueSubject(e.Owner), body)
	if err != nil {
		return err
	}
	return ack.Wait(ctx)
}

// State implements analysis.Queue.
func (q *Queue) State(ctx context.Context) (analysis.QueueState, error) {
	info, err := q.stream.Info(ctx)
	if err != nil || info.Messages == 0 {
		return analysis.QueueState{}, err
	}
	return analysis.QueueState{Length: info.Messages, Oldest: info.FirstTime}, nil
}

// Owners implements analysis.Queue.
func (q *Queue) Owners(ctx context.Context) ([]string, error) {
	subjects, err := q.stream.Subjects(ctx, event.AllQueue)
	for i, s := range subjects {
		subjects[i] = event.ParseQueueSubject(s)
	}
	return subjects, err
}

// Next implements analysis.Queue.
func (q *Queue) Next(ctx context.Context, owner string, from uint64) (*analysis.Entry, error) {
	filter := event.AllQueue
	if owner != "" {
		filter = event.QueueSubject(owner)
	}
	m, err := q.stream.NextFromLeader(ctx, filter, from)
	if err != nil || m == nil {
		return nil, err
	}
	e := &analysis.Entry{Owner: event.ParseQueueSubject(m.Subject), Seq: m.Seq}
	var body entry
	if json.Unmarshal(m.Data, &body) == nil {
		if job, ok := event.ParseJobID(body.JobID); ok {
			e.JobID, e.Attempt, e.Trace = job, body.Attempt, body.Trace
		}
	}
	return e, nil
}

// Remove implements analysis.Queue.
func (q *Queue) Remove(ctx context.Context, e *analysis.Entry) error {
	err := q.stream.Delete(ctx, e.Seq)
	if err == nil {
		return nil
	}
	next, readErr := q.Next(ctx, "", e.Seq)
	if readErr == nil && (next == nil || next.Seq > e.Seq) { // another replica has removed the entry
		return nil
	}
	return err
}

// Grant implements analysis.Queue. The id of the event `granted` contains the sequence of the
// entry. Therefore the stream of jobs ignores the event if another replica publishes it, too.
func (q *Queue) Grant(ctx context.Context, e *analysis.Entry, unlimited bool) error {
	granted := event.Granted{JobID: e.JobID, Attempt: e.Attempt, Entry: e.Seq, Unlimited: unlimited}
	if err := q.bus.Publish(trace.Continue(ctx, e.Trace), granted); err != nil {
		return err
	}
	return q.Remove(ctx, e)
}
