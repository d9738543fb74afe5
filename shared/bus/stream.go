package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/trace"
)

// Stream reads and removes the messages of one stream. Its methods take and return subjects without
// the namespace. It is safe for concurrent use.
type Stream struct {
	bus  *Bus
	name string // name without the namespace
}

// Stream returns a stream. It does not check whether the stream exists.
func (b *Bus) Stream(s event.Stream) *Stream { return &Stream{bus: b, name: s.Name} }

// Message is a message of a stream.
type Message struct {
	Subject string
	Header  nats.Header
	Data    []byte
	Seq     uint64
	Time    time.Time // when the stream stored the message
}

// TraceID returns the id of the message's trace, or "" if it has no trace.
func (m *Message) TraceID() string { return trace.IDOf(m.Header.Get(trace.Header)) }

// StreamInfo is the state of a stream.
type StreamInfo struct {
	Messages          uint64
	FirstSeq, LastSeq uint64
	FirstTime         time.Time // when the oldest message was stored
	Created           time.Time // when the stream was made
	Used              float64   // the used fraction of its limits; at 1 the stream is full (event.Stream)
}

// Info returns the state of the stream. It fails with fault.NotFound if the stream does not exist.
func (s *Stream) Info(ctx context.Context) (StreamInfo, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	stream, err := s.open(ctx)
	if err != nil {
		return StreamInfo{}, err
	}
	info := stream.CachedInfo()
	state, limits := info.State, info.Config
	return StreamInfo{
		Messages: state.Msgs, FirstSeq: state.FirstSeq, LastSeq: state.LastSeq, FirstTime: state.FirstTime, Created: info.Created,
		Used: max(usedPart(state.Bytes, limits.MaxBytes), usedPart(state.Msgs, limits.MaxMsgs)),
	}, nil
}

// usedPart returns the used fraction of a limit, or 0 if there is no limit.
func usedPart(used uint64, limit int64) float64 {
	if limit <= 0 {
		return 0
	}
	return float64(used) / float64(limit)
}

// Get returns the message with a sequence, or nil if there is none.
func (s *Stream) Get(ctx context.Context, seq uint64) (*Message, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	stream, err := s.handle(ctx)
	if err != nil {
		return nil, err
	}
	m, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, translate(fmt.Sprintf("read message %d of %s", seq, s.name), err)
	}
	for _, added := range []string{nats.JSStream, nats.JSSequence, nats.JSTimeStamp, nats.JSSubject} { // in a direct get the server adds these headers to those of the message
		m.Header.Del(added)
	}
	return &Message{Subject: s.bus.cfg.Namespace.Strip(m.Subject), Header: m.Header, Data: m.Data, Seq: m.Sequence, Time: m.Time}, nil
}

// Delete removes the message with a sequence.
func (s *Stream) Delete(ctx context.Context, seq uint64) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	stream, err := s.handle(ctx)
	if err != nil {
		return err
	}
	return translate(fmt.Sprintf("delete message %d of %s", seq, s.name), stream.DeleteMsg(ctx, seq))
}

// Purge removes the messages whose subject matches a filter and whose sequence is less than the
// parameter before. If before is 0, it removes all messages whose subject matches.
func (s *Stream) Purge(ctx context.Context, filter string, before uint64) error {
	tried := "purge " + filter + " from " + s.name
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	stream, err := s.handle(ctx)
	if err != nil {
		return err
	}
	options := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(s.bus.cfg.Namespace.Subject(filter))}
	if before > 0 {
		options = append(options, jetstream.WithPurgeSequence(before)) // the message with this sequence is kept
	}
	return translate(tried, stream.Purge(ctx, options...))
}

// Subjects returns the subjects that match a filter and have messages.
func (s *Stream) Subjects(ctx context.Context, filter string) ([]string, error) {
	tried := "list the subjects of " + s.name
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	stream, err := s.handle(ctx)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(s.bus.cfg.Namespace.Subject(filter)))
	if err != nil {
		return nil, translate(tried, err)
	}
	subjects := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		subjects = append(subjects, s.bus.cfg.Namespace.Strip(subject))
	}
	return subjects, nil
}

// handle returns the client library's handle of the stream. Only the first call sends a request: a
// handle stays valid, also if the stream is deleted and made again.
func (s *Stream) handle(ctx context.Context) (jetstream.Stream, error) {
	if known, ok := s.bus.handles.Load(s.name); ok {
		return known.(jetstream.Stream), nil //nolint:forcetypeassert // only this method stores values, all of this type
	}
	stream, err := s.open(ctx)
	if err == nil {
		s.bus.handles.Store(s.name, stream)
	}
	return stream, err
}

// open requests the stream. It fails with fault.NotFound if no service has ever created the stream.
func (s *Stream) open(ctx context.Context) (jetstream.Stream, error) {
	stream, err := s.bus.js.Stream(ctx, s.bus.cfg.Namespace.Stream(s.name))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fault.Wrap(fault.NotFound, "stream-not-found", "There is no stream "+s.name+": no service has run here yet.", err)
	}
	return stream, translate("find stream "+s.name, err)
}
