package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/trace"
)

// Sharing stores one message for each leader and each follower. It is safe for concurrent use.
type Sharing struct {
	bus    *bus.Bus
	stream *bus.Stream
}

// NewSharing makes the Sharing on a bus.
func NewSharing(b *bus.Bus) *Sharing { return &Sharing{bus: b, stream: b.Stream(event.Shared())} }

// member is the body of a message. The hash of the key and the job are in the subject.
type member struct {
	Token    int64  `json:"token_id"`
	Promoted bool   `json:"promoted,omitempty"`
	Trace    string `json:"traceparent,omitempty"`
}

// anything is the wildcard for all keys or all jobs in a filter.
const anything = "*"

// Leader implements analysis.Sharing.
func (s *Sharing) Leader(ctx context.Context, key string) (*analysis.Member, error) {
	return parse(s.stream.LastFromLeader(ctx, event.LeaderSubject(key, anything)))
}

// LedBy implements analysis.Sharing.
func (s *Sharing) LedBy(ctx context.Context, job string) (*analysis.Member, error) {
	return parse(s.stream.LastFromLeader(ctx, event.LeaderSubject(anything, job)))
}

// NextLeader implements analysis.Sharing.
func (s *Sharing) NextLeader(ctx context.Context, from uint64) (*analysis.Member, error) {
	return parse(s.stream.NextFromLeader(ctx, event.LeaderSubject(anything, anything), from))
}

// NextFollower implements analysis.Sharing.
func (s *Sharing) NextFollower(ctx context.Context, key string, from uint64) (*analysis.Member, error) {
	if key == "" {
		key = anything
	}
	return parse(s.stream.NextFromLeader(ctx, event.FollowerSubject(key, anything), from))
}

// parse decodes a message. It returns nil if m is nil.
func parse(m *bus.Message, err error) (*analysis.Member, error) {
	if err != nil || m == nil {
		return nil, err
	}
	key, job, ok := event.ParseSharedSubject(m.Subject)
	var body member
	if err := json.Unmarshal(m.Data, &body); err != nil || !ok {
		return nil, fmt.Errorf("read %s: %w", m.Subject, errors.Join(err, errMember))
	}
	return &analysis.Member{
		Key: analysis.ResultKey{Token: body.Token, Hash: key}, Job: job,
		Promoted: body.Promoted, Trace: body.Trace, Seq: m.Seq, Since: m.Time,
	}, nil
}

var errMember = errors.New("the message is of no job that shares an analysis")

// Lead implements analysis.Sharing.
func (s *Sharing) Lead(ctx context.Context, m analysis.Member, after uint64) (*analysis.Member, error) {
	seq, err := s.publish(ctx, event.LeaderSubject(m.Key.Hash, m.Job), &m, event.LeaderSubject(m.Key.Hash, anything), after)
	if err != nil || seq == 0 {
		return nil, err
	}
	m.Seq = seq
	return &m, nil
}

// Follow implements analysis.Sharing.
func (s *Sharing) Follow(ctx context.Context, m analysis.Member) error {
	subject := event.FollowerSubject(m.Key.Hash, m.Job)
	_, err := s.publish(ctx, subject, &m, subject, 0)
	return err
}

// publish stores a message for a job, if the newest message that matches the filter has the
// sequence in the parameter after. If after is 0, no message may match. publish returns the
// sequence of the stored message, or 0 if it has stored nothing.
func (s *Sharing) publish(ctx context.Context, subject string, m *analysis.Member, filter string, after uint64) (uint64, error) {
	if m.Trace == "" {
		m.Trace = trace.Parent(ctx)
	}
	body, err := json.Marshal(member{Token: m.Key.Token, Promoted: m.Promoted, Trace: m.Trace})
	if err != nil {
		return 0, fmt.Errorf("encode job %s: %w", m.Job, err)
	}
	seq, err := s.bus.PublishBytesExpecting(ctx, subject, body, filter, after)
	if errors.Is(err, event.ErrLogConflict) {
		return 0, nil
	}
	return seq, err
}

// Remove implements analysis.Sharing.
func (s *Sharing) Remove(ctx context.Context, m *analysis.Member) error {
	err := s.stream.Delete(ctx, m.Seq)
	if err == nil {
		return nil
	}
	found, readErr := s.stream.Get(ctx, m.Seq)
	if readErr == nil && found == nil { // another replica has removed the message
		return nil
	}
	return err
}

// RemoveFollowers implements analysis.Sharing.
func (s *Sharing) RemoveFollowers(ctx context.Context, key string, before uint64) error {
	return s.stream.Purge(ctx, event.FollowerSubject(key, anything), before)
}

// Continue implements analysis.Sharing.
func (s *Sharing) Continue(ctx context.Context, m *analysis.Member) context.Context {
	return trace.Continue(ctx, m.Trace)
}

// Grant implements analysis.Sharing. The id of the event `granted` contains the sequence of the
// leader's or follower's message. Therefore the stream of jobs ignores the event if another replica
// publishes it, too.
func (s *Sharing) Grant(ctx context.Context, m *analysis.Member) error {
	return s.bus.Publish(s.Continue(ctx, m), event.Granted{
		JobID: m.Job, Attempt: 1, Entry: m.Seq, ResultKey: m.Key.Hash,
	})
}
