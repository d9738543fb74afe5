package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/trace"
)

// Headers for the attributes of CloudEvents (CloudEvents 1.0, NATS protocol binding, binary mode).
const (
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerSource      = "ce-source"
	headerType        = "ce-type"
	headerSubject     = "ce-subject"
	headerTime        = "ce-time"
	headerContentType = "content-type"
)

// Publish publishes an event and waits until its stream has stored it. The stream ignores an event
// whose id it has stored within its deduplication window.
func (b *Bus) Publish(ctx context.Context, e event.Event) error {
	_, err := b.publish(ctx, e)
	return err
}

// PublishAsync publishes a progress event and does not wait until it is stored. The event may be
// lost: the next one replaces it.
func (b *Bus) PublishAsync(ctx context.Context, e event.Event) error {
	msg, err := b.encode(ctx, e)
	if err != nil {
		return err
	}
	if _, err := b.js.PublishMsgAsync(msg, jetstream.WithMsgID(event.ID(e)), jetstream.WithRetryAttempts(0)); err != nil {
		return translate("publish "+event.ID(e), err)
	}
	return nil
}

// PublishExpecting publishes an event if the sequence of the newest message whose subject matches
// filter is equal to the parameter last. A last of 0 means that no message may match. It returns
// the sequence of the event.
//
// If the newest message has another sequence, PublishExpecting returns event.ErrLogConflict and
// publishes nothing. It does the same if the stream already has a message with the id of the event:
// another writer may have published that message with other content.
func (b *Bus) PublishExpecting(ctx context.Context, e event.Event, filter string, last uint64) (uint64, error) {
	ack, err := b.publish(ctx, e, jetstream.WithExpectLastSequenceForSubject(last, b.cfg.Namespace.Subject(filter)))
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeDuplicateInProcess {
		return 0, conflict(err)
	}
	if err != nil {
		return 0, err
	}
	if ack.Duplicate {
		return 0, conflict(fmt.Errorf("publish %s: the stream has a message with this id", event.ID(e)))
	}
	return ack.Sequence, nil
}

func (b *Bus) publish(ctx context.Context, e event.Event, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	msg, err := b.encode(ctx, e)
	if err != nil {
		return nil, err
	}
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	opts = append(opts, jetstream.WithMsgID(event.ID(e)))
	if lifetime := event.Lifetime(e, time.Now()); lifetime > 0 {
		opts = append(opts, jetstream.WithMsgTTL(lifetime))
	}
	ack, err := b.js.PublishMsg(ctx, msg, opts...)
	return ack, translate("publish "+event.ID(e), err)
}

// encode makes the message of an event.
func (b *Bus) encode(ctx context.Context, e event.Event) (*nats.Msg, error) {
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

// PublishBytesExpecting publishes a message that is not an event under the condition of
// PublishExpecting, and returns its sequence. If the condition does not hold, it returns
// event.ErrLogConflict.
func (b *Bus) PublishBytesExpecting(ctx context.Context, subject string, data []byte, filter string, last uint64) (uint64, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	ns := b.cfg.Namespace
	ack, err := b.js.Publish(ctx, ns.Subject(subject), data, jetstream.WithExpectLastSequenceForSubject(last, ns.Subject(filter)))
	if err != nil {
		return 0, translate("publish to "+subject, err)
	}
	return ack.Sequence, nil
}

// PubAck is the acknowledgement of a message from PublishBytes. It may still be outstanding.
type PubAck struct {
	subject string
	future  jetstream.PubAckFuture

	// Seq is the sequence of the message, after Wait has returned without an error.
	Seq uint64
}

// PublishBytes publishes a message that is not an event. It does not wait until the message is
// stored; PubAck.Wait does. When PublishBytes returns, data may be reused, because it is never sent
// a second time, even if the message is lost.
func (b *Bus) PublishBytes(subject string, data []byte) (*PubAck, error) {
	msg := &nats.Msg{Subject: b.cfg.Namespace.Subject(subject), Data: data}
	future, err := b.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return nil, translate("publish to "+subject, err)
	}
	return &PubAck{subject: subject, future: future}, nil
}

// Wait waits until the message is stored. It fails with fault.Unavailable if no acknowledgement
// arrives within a few seconds. It may be called only once.
func (a *PubAck) Wait(ctx context.Context) error {
	timer := time.NewTimer(requestTimeout)
	defer timer.Stop()
	select {
	case stored := <-a.future.Ok():
		a.Seq = stored.Sequence
		return nil
	case err := <-a.future.Err():
		return translate("publish to "+a.subject, err)
	case <-timer.C:
		return fault.Unreachable("message bus", fmt.Errorf("publish to %s: no acknowledgement", a.subject))
	case <-ctx.Done():
		return ctx.Err()
	}
}
