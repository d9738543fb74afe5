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

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Message is one message of a stream, out of the namespace.
type Message struct {
	Subject string
	Data    []byte
	Seq     uint64
	Time    time.Time
}

// Log reads what is known of a job: the newest event on each of its subjects,
// oldest first; empty for a job that does not exist. Whichever replica answers,
// the log is as new as the stream's leader has it.
func (b *Bus) Log(ctx context.Context, job string) (event.Log, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	log, err := b.peek(ctx, job)
	if err != nil {
		return nil, err
	}
	newest, err := b.newest(ctx, job, log)
	if err != nil || newest {
		return log, err
	}
	return b.logFromLeader(ctx, job)
}

// peek reads a job's log from any replica, which may lag: a replica takes part in
// answering before it has caught up. What is appended to such a log is refused.
func (b *Bus) peek(ctx context.Context, job string) (event.Log, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	subject := b.cfg.Namespace.Subject(event.LogSubject(job))
	stream := b.cfg.Namespace.Stream(event.Jobs().Name)
	msgs, err := jetstreamext.GetLastMsgsFor(ctx, b.js, stream, []string{subject})
	if err != nil {
		return nil, translate("read the log of job "+job, err)
	}
	var log event.Log
	for msg, err := range msgs {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return nil, nil
		}
		if err != nil {
			return nil, translate("read the log of job "+job, err)
		}
		r, err := recordOf(b.cfg.Namespace.Strip(msg.Subject), msg.Data, msg.Sequence, msg.Time)
		if err != nil {
			return nil, fmt.Errorf("read the log of job %s: %w", job, err)
		}
		log = append(log, r)
	}
	if err := ctx.Err(); err != nil { // an iteration cut short says nothing of the rest
		return nil, translate("read the log of job "+job, err)
	}
	slices.SortFunc(log, func(a, b event.Record) int { return cmp.Compare(a.Seq, b.Seq) })
	return log, nil
}

// newest reports whether a log ends where the stream's leader says that it does. A
// single server has nobody who could lag behind it.
func (b *Bus) newest(ctx context.Context, job string, log event.Log) (bool, error) {
	if b.cfg.Replicas == 1 && len(log) > 0 {
		return true, nil
	}
	last, err := b.lastFromLeader(ctx, event.Jobs(), event.LogSubject(job))
	return last == nil || last.Seq <= log.Seq(), err
}

// logFromLeader reads a job's log event by event.
func (b *Bus) logFromLeader(ctx context.Context, job string) (event.Log, error) {
	var log event.Log
	for after := uint64(0); ; {
		m, err := b.fromLeader(ctx, event.Jobs(), leaderQuery{Seq: after + 1, NextFor: b.cfg.Namespace.Subject(event.LogSubject(job))})
		if err != nil || m == nil {
			return log, err
		}
		r, err := recordOf(m.Subject, m.Data, m.Seq, m.Time)
		if err != nil {
			return nil, fmt.Errorf("read the log of job %s: %w", job, err)
		}
		log = slices.DeleteFunc(log, func(earlier event.Record) bool { return event.Subject(earlier.Event) == m.Subject })
		log, after = append(log, r), m.Seq
	}
}

func recordOf(subject string, body []byte, seq uint64, at time.Time) (event.Record, error) {
	e, err := eventOf(subject, body)
	return event.Record{Event: e, Seq: seq, Time: at}, err
}

// eventOf reads an event of a log. One that cannot be read stands there as
// event.Unreadable: a log that it spoiled could never be ended.
func eventOf(subject string, body []byte) (event.Event, error) {
	e, err := event.Decode(subject, body)
	if err == nil {
		return e, nil
	}
	job, name, err := event.ParseSubject(subject)
	if err != nil {
		return nil, err
	}
	return event.Unreadable{JobID: job, Of: name}, nil
}

// Last returns the newest message on a subject of a stream, nil where there is
// none. A miss is confirmed by the stream's leader, since a replica may lag.
func (b *Bus) Last(ctx context.Context, stream event.Stream, subject string) (*Message, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	req := nats.NewMsg(fmt.Sprintf("$JS.API.DIRECT.GET.%s.%s", b.cfg.Namespace.Stream(stream.Name), b.cfg.Namespace.Subject(subject)))
	msg, err := b.nc.RequestMsgWithContext(ctx, req)
	if err != nil {
		return nil, translate("read the last of "+subject, err)
	}
	if msg.Header.Get("Status") == "404" {
		return b.lastFromLeader(ctx, stream, subject)
	}
	if status := msg.Header.Get("Status"); status != "" {
		return nil, fault.Unreachable("message bus", fmt.Errorf("read the last of %s: status %s %s", subject, status, msg.Header.Get("Description")))
	}
	at, _ := time.Parse(time.RFC3339Nano, msg.Header.Get(jetstream.TimeStampHeaer)) // absent from no server
	var seq uint64
	if _, err := fmt.Sscan(msg.Header.Get(jetstream.SequenceHeader), &seq); err != nil {
		return nil, fmt.Errorf("read the last of %s: sequence: %w", subject, err)
	}
	return &Message{Subject: b.cfg.Namespace.Strip(msg.Header.Get(jetstream.SubjectHeader)), Data: msg.Data, Seq: seq, Time: at}, nil
}

// LastProgress returns what was last told of a job's progress within the analysis, and
// when; nil where nothing was.
func (b *Bus) LastProgress(ctx context.Context, job string) (*event.Progressed, time.Time, error) {
	m, err := b.Last(ctx, event.Jobs(), event.Subject(event.Progressed{JobID: job}))
	if err != nil || m == nil {
		return nil, time.Time{}, err
	}
	e, err := event.Decode(m.Subject, m.Data)
	progressed, ok := e.(event.Progressed)
	if err != nil || !ok {
		return nil, time.Time{}, nil //nolint:nilerr // what cannot be read tells nothing
	}
	return &progressed, m.Time, nil
}

// lastFromLeader returns the newest message on a subject; nil where there is none.
func (b *Bus) lastFromLeader(ctx context.Context, stream event.Stream, subject string) (*Message, error) {
	return b.fromLeader(ctx, stream, leaderQuery{LastFor: b.cfg.Namespace.Subject(subject)})
}

// leaderQuery names one message of a stream.
type leaderQuery struct {
	LastFor string `json:"last_by_subj,omitempty"`
	Seq     uint64 `json:"seq,omitempty"`
	NextFor string `json:"next_by_subj,omitempty"` // from Seq on
}

// fromLeader asks through the API that only the leader answers (the client library
// would take the direct way for a stream that allows it). It returns nil where
// there is no such message.
func (b *Bus) fromLeader(ctx context.Context, stream event.Stream, q leaderQuery) (*Message, error) {
	tried := "read " + stream.Name + " from its leader"
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	ctx, cancel := within(ctx)
	defer cancel()
	reply, err := b.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+b.cfg.Namespace.Stream(stream.Name), body)
	if err != nil {
		return nil, translate(tried, err)
	}
	var answer struct {
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	switch m := answer.Message; {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case answer.Error != nil:
		return nil, translate(tried, answer.Error)
	case m == nil:
		return nil, fmt.Errorf("%s: an answer without a message", tried)
	default:
		return &Message{Subject: b.cfg.Namespace.Strip(m.Subject), Data: m.Data, Seq: m.Seq, Time: m.Time}, nil
	}
}
