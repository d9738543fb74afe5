package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"sori.internal/shared/fault"
)

// Last returns the newest message on a subject, or nil if there is none. Any replica may answer. If
// the replica has no message, Last asks the leader, since a replica may lag.
func (s *Stream) Last(ctx context.Context, subject string) (*Message, error) {
	tried := "read the last message on " + subject
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	ns := s.bus.cfg.Namespace
	req := nats.NewMsg(fmt.Sprintf("$JS.API.DIRECT.GET.%s.%s", ns.Stream(s.name), ns.Subject(subject)))
	msg, err := s.bus.nc.RequestMsgWithContext(ctx, req)
	if err != nil {
		return nil, translate(tried, err)
	}
	if msg.Header.Get("Status") == "404" {
		return s.LastFromLeader(ctx, subject)
	}
	if status := msg.Header.Get("Status"); status != "" {
		return nil, fault.Unreachable("message bus", fmt.Errorf("%s: status %s %s", tried, status, msg.Header.Get("Description")))
	}
	at, _ := time.Parse(time.RFC3339Nano, msg.Header.Get(jetstream.TimeStampHeaer)) // the header is never missing: every server sends it
	var seq uint64
	if _, err := fmt.Sscan(msg.Header.Get(jetstream.SequenceHeader), &seq); err != nil {
		return nil, fmt.Errorf("%s: sequence: %w", tried, err)
	}
	return &Message{Subject: ns.Strip(msg.Header.Get(jetstream.SubjectHeader)), Header: msg.Header, Data: msg.Data, Seq: seq, Time: at}, nil
}

// LastPerSubject returns the newest message on each subject that matches a filter, oldest first.
// Any replica may answer, even one that lags behind the leader. The filter must match at most 256
// subjects; LastOfAll has no such limit.
func (s *Stream) LastPerSubject(ctx context.Context, filter string) ([]Message, error) {
	return s.lastOf(ctx, "read the last messages on "+filter, filter)
}

// lastPage is the number of subjects for which LastOfAll requests the last messages at a time. The
// server refuses a request that matches more than 1024 subjects, and the client library drops
// messages if more than nats.SyncQueueLen arrive at once.
const lastPage = 256

// LastOfAll is like LastPerSubject, for a filter that may match any number of subjects. It lists the
// subjects first, so it sends more requests, and leaves out subjects that get their first message
// meanwhile.
func (s *Stream) LastOfAll(ctx context.Context, filter string) ([]Message, error) {
	subjects, err := s.Subjects(ctx, filter)
	if err != nil {
		return nil, err
	}
	var found []Message
	for page := range slices.Chunk(subjects, lastPage) {
		messages, err := s.lastOf(ctx, "read the last messages on "+filter, page...)
		if err != nil {
			return nil, err
		}
		found = append(found, messages...)
	}
	slices.SortFunc(found, bySeq)
	return found, nil
}

// lastOf returns the newest message on each subject that matches one of the filters, oldest first.
func (s *Stream) lastOf(ctx context.Context, tried string, filters ...string) ([]Message, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	ns := s.bus.cfg.Namespace
	subjects := make([]string, len(filters))
	for i, f := range filters {
		subjects[i] = ns.Subject(f)
	}
	msgs, err := jetstreamext.GetLastMsgsFor(ctx, s.bus.js, ns.Stream(s.name), subjects)
	if err != nil {
		return nil, translate(tried, err)
	}
	var found []Message
	for msg, err := range msgs {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return nil, nil
		}
		if errors.Is(err, jetstreamext.ErrBatchUnsupported) || errors.Is(err, jetstreamext.ErrInvalidResponse) {
			// The response is an error of the server, such as one that is closing its files since it stops.
			return nil, fault.Unreachable("message bus", fmt.Errorf("%s: %w", tried, err))
		}
		if err != nil {
			return nil, translate(tried, err)
		}
		found = append(found, Message{Subject: ns.Strip(msg.Subject), Header: msg.Header, Data: msg.Data, Seq: msg.Sequence, Time: msg.Time})
	}
	if err := ctx.Err(); err != nil { // the iteration may have ended early, before the last message
		return nil, translate(tried, err)
	}
	slices.SortFunc(found, bySeq)
	return found, nil
}

func bySeq(a, b Message) int { return cmp.Compare(a.Seq, b.Seq) }

// LastFromLeader returns the newest message whose subject matches a filter, or nil if there is
// none. It reads from the leader of the stream.
func (s *Stream) LastFromLeader(ctx context.Context, filter string) (*Message, error) {
	return s.fromLeader(ctx, leaderQuery{LastFor: s.bus.cfg.Namespace.Subject(filter)})
}

// NextFromLeader returns the oldest message whose subject matches a filter and whose sequence is at
// least seq, or nil if there is none. It reads from the leader of the stream.
func (s *Stream) NextFromLeader(ctx context.Context, filter string, seq uint64) (*Message, error) {
	return s.fromLeader(ctx, leaderQuery{Seq: seq, NextFor: s.bus.cfg.Namespace.Subject(filter)})
}

// leaderQuery selects one message of a stream.
type leaderQuery struct {
	LastFor string `json:"last_by_subj,omitempty"`
	Seq     uint64 `json:"seq,omitempty"`
	NextFor string `json:"next_by_subj,omitempty"` // selects the first message on this subject at or after Seq
}

// fromLeader uses the API that only the leader answers. The client library would use a direct get,
// which any replica answers, since the stream allows direct gets. fromLeader returns nil if no
// message matches q.
func (s *Stream) fromLeader(ctx context.Context, q leaderQuery) (*Message, error) {
	tried := "read " + s.name + " from its leader"
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	reply, err := s.bus.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.bus.cfg.Namespace.Stream(s.name), body)
	if err != nil {
		return nil, translate(tried, err)
	}
	var response struct {
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &response); err != nil {
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	switch m := response.Message; {
	case response.Error != nil && response.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case response.Error != nil:
		return nil, translate(tried, response.Error)
	case m == nil:
		return nil, fmt.Errorf("%s: a response without a message", tried)
	}
	m, header := response.Message, nats.Header(nil)
	if len(m.Header) > 0 {
		if header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return nil, fmt.Errorf("%s: header of message %d: %w", tried, m.Seq, err)
		}
	}
	return &Message{Subject: s.bus.cfg.Namespace.Strip(m.Subject), Header: header, Data: m.Data, Seq: m.Seq, Time: m.Time}, nil
}
