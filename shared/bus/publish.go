package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/trace"
)

// The CloudEvents attributes as headers (CloudEvents 1.0, NATS binding, binary
// mode).
const (
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerSource      = "ce-source"
	headerType        = "ce-type"
	headerSubject     = "ce-subject"
	headerTime        = "ce-time"
	headerContentType = "content-type"
)

// Append adds a state event to its job's log, provided that the log still ends
// at the sequence after; 0 for the event that opens it. It returns the event's
// own sequence. Where the log has moved on it returns event.ErrLogConflict and
// nothing was added. Repeating an Append that was stored, after an answer that
// was lost, is a success however late it comes.
func (b *Bus) Append(ctx context.Context, e event.Event, after uint64) (uint64, error) {
	seq, err := b.append(ctx, e, after)
	if !errors.Is(err, event.ErrLogConflict) {
		return seq, err
	}
	last, readErr := b.lastFromLeader(ctx, event.Jobs(), event.Subject(e)) // a replica may not have it yet
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

// append adds an event, unless one with its id is there or about to be: that may be
// another writer's, and say something else.
func (b *Bus) append(ctx context.Context, e event.Event, after uint64) (uint64, error) {
	ack, err := b.publish(ctx, e,
		jetstream.WithExpectLastSequenceForSubject(after, b.cfg.Namespace.Subject(event.LogSubject(e.Job()))))
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeDuplicateInProcess {
		return 0, logConflict(err)
	}
	if err != nil {
		return 0, err
	}
	if ack.Duplicate {
		return 0, logConflict(fmt.Errorf("publish %s: its id is taken", event.ID(e)))
	}
	return ack.Sequence, nil
}

// Tell publishes an event that is in no job's log: of progress, or of a token. It
// expects nothing.
func (b *Bus) Tell(ctx context.Context, e event.Event) error {
	_, err := b.publish(ctx, e)
	return err
}

// Hint publishes a progress event and does not wait for it to be stored: it may
// be lost, and whoever hears the next one does not miss it.
func (b *Bus) Hint(ctx context.Context, e event.Event) error {
	msg, err := b.message(ctx, e)
	if err != nil {
		return err
	}
	if _, err := b.js.PublishMsgAsync(msg, jetstream.WithMsgID(event.ID(e)), jetstream.WithRetryAttempts(0)); err != nil {
		return translate("hint "+event.ID(e), err)
	}
	return nil
}

func (b *Bus) publish(ctx context.Context, e event.Event, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	msg, err := b.message(ctx, e)
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx)
	defer cancel()
	opts = append(opts, jetstream.WithMsgID(event.ID(e)))
	ack, err := b.js.PublishMsg(ctx, msg, opts...)
	return ack, translate("publish "+event.ID(e), err)
}

func (b *Bus) message(ctx context.Context, e event.Event) (*nats.Msg, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", event.ID(e), err)
	}
	msg := nats.NewMsg(b.cfg.Namespace.Subject(event.Subject(e)))
	msg.Data = body
	msg.Header.Set(headerSpecVersion, "1.0")
	msg.Header.Set(headerID, event.ID(e))
	msg.Header.Set(headerSource, b.source)
	msg.Header.Set(headerType, event.Type(e.Name()))
	msg.Header.Set(headerSubject, event.EntityID(e))
	msg.Header.Set(headerTime, time.Now().UTC().Format(time.RFC3339Nano))
	msg.Header.Set(headerContentType, "application/json")
	if parent := trace.Parent(ctx); parent != "" {
		msg.Header[trace.Header] = []string{parent}
	}
	return msg, nil
}

// decideRounds bounds how often a decision is taken again. Each round that is
// lost means that another writer won one, and a job's log has few steps.
const decideRounds = 16

// Decide reads a job's log, lets decide choose what to add to it, and adds it;
// where another writer was quicker it reads and decides again. decide returns
// nil to add nothing. Decide returns the log as decide last saw it and, if one
// was added, the record of the new event at its end.
//
// A caller that has reason to know the log's end gives what it knows, and the
// first round does without reading: where the log has moved on, the append tells.
// What is known must be enough for decide to judge by; nil is nothing.
func (b *Bus) Decide(ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error) {
	read := b.peek // what is appended to a log that is not the newest is refused
	for range decideRounds {
		log, err := known, error(nil)
		if known = nil; len(log) == 0 {
			log, err = read(ctx, job)
		}
		if err != nil {
			return nil, err
		}
		read = b.Log
		e, err := decide(log)
		if err != nil || e == nil {
			newest, readErr := b.newest(ctx, job, log)
			if readErr != nil {
				return nil, readErr
			}
			if newest {
				return log, err
			}
			continue
		}
		seq, err := b.append(ctx, e, log.Seq())
		if err == nil {
			return append(slices.Clip(log), event.Record{Event: e, Seq: seq, Time: time.Now()}), nil
		}
		if !errors.Is(err, event.ErrLogConflict) {
			return nil, err
		}
		// On a cluster the event that won may not be readable yet: give it a moment.
		if err := pause(ctx, time.Duration(rand.Int64N(int64(20*time.Millisecond)))); err != nil {
			return nil, err
		}
	}
	return nil, &fault.Error{
		Kind: fault.Unavailable, Code: "contended", RetryAfter: time.Second,
		Detail: "The job is changing too fast right now. Please try again.", Err: fmt.Errorf("decide on job %s: %w", job, event.ErrLogConflict),
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Broadcast publishes to whoever listens right now; nothing keeps it.
func (b *Bus) Broadcast(subject string, body []byte) error {
	if err := b.nc.Publish(b.cfg.Namespace.Subject(subject), body); err != nil {
		return translate("broadcast", err)
	}
	return nil
}
