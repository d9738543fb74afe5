package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/trace"
)

// DeadLetter is a dead letter: a message that a consumer gave up, and why.
type DeadLetter struct {
	Seq        uint64    `json:"seq"` // in the stream of dead letters: its name for an operator
	Consumer   string    `json:"consumer"`
	Subject    string    `json:"subject"`    // of the event
	EventSeq   uint64    `json:"event_seq"`  // of the event, in its stream
	Job        string    `json:"job_id"`     // empty where the subject names none
	Code       string    `json:"code"`       // the fault's
	Reason     string    `json:"reason"`     // the fault's detail
	Deliveries uint64    `json:"deliveries"` // how often it was tried
	At         time.Time `json:"buried"`
	Trace      string    `json:"trace_id,omitempty"`
	Body       []byte    `json:"-"`
}

// DeadLetters lists the dead letters of a consumer, or of all where it is empty,
// oldest first.
func (b *Bus) DeadLetters(ctx context.Context, consumer string) ([]DeadLetter, error) {
	filter := event.AllDead
	if consumer != "" {
		filter = event.DeadSubject(consumer)
	}
	var letters []DeadLetter
	err := b.scan(ctx, event.Dead(), true, []string{filter}, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		letters = append(letters, b.letter(msg.Subject(), msg.Headers(), msg.Data(), meta.Sequence.Stream, meta.Timestamp))
		return nil
	})
	return letters, err
}

// DeadLetter reads one dead letter.
func (b *Bus) DeadLetter(ctx context.Context, seq uint64) (DeadLetter, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	stream, err := b.stream(ctx, event.Dead())
	if err != nil {
		return DeadLetter{}, err
	}
	m, err := stream.GetMsg(ctx, seq)
	if err != nil {
		return DeadLetter{}, noLetter(seq, err)
	}
	return b.letter(m.Subject, m.Header, m.Data, m.Sequence, m.Time), nil
}

// DropLetter removes a dead letter. The event that it was stays in its job's log.
func (b *Bus) DropLetter(ctx context.Context, seq uint64) error {
	ctx, cancel := within(ctx)
	defer cancel()
	stream, err := b.stream(ctx, event.Dead())
	if err != nil {
		return err
	}
	if _, err := stream.GetMsg(ctx, seq); err != nil { // deleting tells only that it could not
		return noLetter(seq, err)
	}
	return translate(fmt.Sprintf("drop letter %d", seq), stream.DeleteMsg(ctx, seq))
}

func noLetter(seq uint64, err error) error {
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fault.Wrap(fault.NotFound, "letter-not-found", fmt.Sprintf("There is no dead letter %d.", seq), err)
	}
	return translate(fmt.Sprintf("read letter %d", seq), err)
}

func (b *Bus) letter(subject string, header nats.Header, body []byte, seq uint64, at time.Time) DeadLetter {
	l := DeadLetter{
		Seq: seq, Consumer: event.ParseDeadSubject(b.cfg.Namespace.Strip(subject)), Subject: header.Get(HeaderSubject),
		Code: header.Get(HeaderCode), Reason: header.Get(HeaderReason), At: at, Trace: trace.IDOf(header.Get(trace.Header)), Body: body,
	}
	l.Job, _, _ = event.ParseSubject(l.Subject)
	l.EventSeq, _ = strconv.ParseUint(header.Get(HeaderSequence), 10, 64) // 0 is no event's, which a replay is told
	l.Deliveries, _ = strconv.ParseUint(header.Get(HeaderDeliveries), 10, 64)
	return l
}

// replayAnswer is what a consumer answers to a replay. An empty kind is success.
type replayAnswer struct {
	Kind   string `json:"kind,omitempty"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Replay has a consumer handle an event of its stream once more, however
// often it has and whatever became of it, and returns what its handler did. One
// copy of the service does the work, and answers when it is done.
//
// Nothing is published anew: the event stays where it is in its job's log, so
// the log remains what happened, and a handler finds the event's own sequence,
// time and trace. A failure settles nothing either: neither is the event
// delivered again by itself nor made a dead letter another time. Whoever asked decides.
func (b *Bus) Replay(ctx context.Context, consumer string, seq uint64) error {
	reply, err := b.nc.RequestWithContext(ctx, b.cfg.Namespace.Subject(event.ReplaySubject(consumer)), []byte(strconv.FormatUint(seq, 10)))
	if errors.Is(err, nats.ErrNoResponders) {
		return fault.Wrap(fault.Unavailable, "consumer-away", "No copy of the service that runs "+consumer+" is there.", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Unavailable, "replay-unanswered", "No answer in time from "+consumer+": it may be at work still.", err)
	}
	if err != nil {
		return translate("replay to "+consumer, err)
	}
	var v replayAnswer
	if err := json.Unmarshal(reply.Data, &v); err != nil {
		return fmt.Errorf("replay to %s: %w", consumer, err)
	}
	if v.Kind == "" {
		return nil
	}
	f := fault.New(fault.Internal, v.Code, v.Detail)
	for _, k := range fault.Kinds() {
		if k.String() == v.Kind {
			f.Kind = k
		}
	}
	return f
}
