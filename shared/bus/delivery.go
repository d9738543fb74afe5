package bus

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/trace"
	"sori.internal/shared/wait"
)

// delivery parses a message. Even if it returns an error, the returned Delivery has the job id from
// the subject of the message.
func (b *Bus) delivery(msg jetstream.Msg) (Delivery, error) {
	subject := b.cfg.Namespace.Strip(msg.Subject())
	var d Delivery
	meta, err := msg.Metadata()
	if err != nil {
		d.Job, _, _ = event.ParseSubject(subject)
		d.Backoff = Delay(d.Attempt)
		return d, fmt.Errorf("read delivery: %w", err)
	}
	d.Seq, d.Time, d.Attempt = meta.Sequence.Stream, meta.Timestamp, meta.NumDelivered
	d.Backoff = Delay(d.Attempt)
	d.Size = storedSize(msg.Subject(), msg.Headers(), msg.Data())
	return d, d.decode(subject, msg.Data())
}

// storedSize returns how many bytes a message occupies in the file of a stream. The server adds its
// length, sequence, time and hash, and the lengths of the subject and of the header.
func storedSize(subject string, header nats.Header, data []byte) int64 {
	const added, addedForHeader = 30, 4
	m := nats.Msg{Subject: subject, Header: header, Data: data}
	size := m.Size() + added
	if len(header) > 0 {
		size += addedForHeader
	}
	return int64(size)
}

// decode sets Job and Event from a message.
func (d *Delivery) decode(subject string, body []byte) (err error) {
	d.Job, _, _ = event.ParseSubject(subject)
	if d.Event, err = event.Decode(subject, body); err != nil {
		return fault.Wrap(fault.Invalid, "unreadable-event", "The event could not be read.", err)
	}
	return nil
}

// eventContext returns the context in which an event is handled: it has the event's trace and
// logger.
func (b *Bus) eventContext(ctx context.Context, c Consumer, header nats.Header, d Delivery) context.Context {
	ctx = trace.Continue(ctx, header.Get(trace.Header))
	log := b.log.With().Str(logging.Consumer, c.Name).
		Uint64(logging.Sequence, d.Seq).Uint64(logging.Delivery, d.Attempt).
		Str(logging.EventID, header.Get(headerID)).Str(logging.Trace, trace.ID(ctx))
	if d.Job != "" {
		log = log.Str(logging.JobID, d.Job)
	}
	return log.Logger().WithContext(ctx)
}

// extendAckWait notifies the server at each interval that a message is in progress, until stop is
// called. It continues while the service stops.
func extendAckWait(ctx context.Context, msg jetstream.Msg, interval time.Duration) (stop func()) {
	return wait.InBackground(context.WithoutCancel(ctx), interval, func(context.Context) {
		_ = msg.InProgress() // if the notice is lost, the message is redelivered
	})
}

// recoverPanic calls f and converts a panic to an error: one bad event must not end the process.
func recoverPanic(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}

// withGrace returns a context that ends a duration after ctx. Work that began before ctx ended can
// finish in it.
func withGrace(ctx context.Context, grace time.Duration) (context.Context, func()) {
	graceCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var timer *time.Timer
	var mu sync.Mutex
	unhook := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		timer = time.AfterFunc(grace, cancel)
	})
	return graceCtx, func() {
		unhook()
		mu.Lock()
		defer mu.Unlock()
		if timer != nil {
			timer.Stop()
		}
		cancel()
	}
}
