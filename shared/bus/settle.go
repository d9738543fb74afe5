package bus

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/trace"
)

// settle acks, naks or terminates every message that was handled. The only other function that
// settles messages is fetch: it naks the messages that arrive after a stop.
func (b *Bus) settle(ctx context.Context, c Consumer, msg jetstream.Msg, d Delivery, err error, start time.Time) {
	verdict, internal := VerdictOn(err, d.Attempt), fault.Is(err, fault.Internal)
	if inRow := b.defects.observe(delivered{c.Name, d.Seq}, internal); internal && inRow < minDefects {
		verdict = Retry
	}
	if verdict == Reject {
		if deadErr := b.storeDeadLetter(ctx, c, msg, d, fault.As(err)); deadErr != nil {
			zerolog.Ctx(ctx).Warn().Err(deadErr).Msg("dead letter not stored yet")
			verdict = Retry
		}
	}
	var settleErr error
	switch verdict {
	case Ack:
		settleErr = msg.Ack()
	case Retry:
		settleErr = msg.NakWithDelay(c.delay(d.Backoff, fault.As(err).RetryAfter))
	case Reject:
		settleErr = msg.TermWithReason(fault.As(err).Code)
	}
	took := time.Since(start)
	c.Metrics.Observe(c.Name, verdict.String(), took)
	log := zerolog.Ctx(ctx).With().Str(logging.Outcome, verdict.String()).Float64(logging.Took, logging.Millis(took)).Logger()
	level := verdict.level()
	if f := fault.As(err); f != nil {
		log = log.With().Err(err).Str(logging.Kind, f.Kind.String()).Logger()
		if verdict == Retry && f.Logged {
			level = zerolog.DebugLevel
		}
	}
	if settleErr != nil { // the server redelivers a message whose ack, nak or term was lost; handlers tolerate that
		log = log.With().AnErr("settle_error", settleErr).Logger()
	}
	log.WithLevel(level).Msg("event handled")
}

// The headers of a dead letter, in addition to those of the rejected message.
const (
	HeaderReason     = "Sori-Reason"
	HeaderCode       = "Sori-Code"
	HeaderSubject    = "Sori-Subject"
	HeaderSequence   = "Sori-Sequence"
	HeaderDeliveries = "Sori-Deliveries"
)

// storeDeadLetter calls OnDeadLetter, so that the service fails the job, and then stores the
// message with the reason. The reason is the code and the detail of the failure. The cause is left
// out, since it may contain secrets.
func (b *Bus) storeDeadLetter(ctx context.Context, c Consumer, msg jetstream.Msg, d Delivery, f *fault.Error) error {
	if c.OnDeadLetter != nil && d.Job != "" {
		if err := recoverPanic(func() error { return c.OnDeadLetter(ctx, d, f) }); err != nil {
			return fmt.Errorf("fail job %s: %w", d.Job, err)
		}
	}
	dead := nats.NewMsg(b.cfg.Namespace.Subject(event.DeadSubject(c.Name)))
	dead.Data = msg.Data()
	for k, v := range msg.Headers() {
		switch k {
		case jetstream.MsgIDHeader, jetstream.ExpectedLastSubjSeqHeader, jetstream.ExpectedLastSubjSeqSubjHeader, jetstream.MsgTTLHeader:
		default: // those above are instructions for the stream
			dead.Header[k] = v
		}
	}
	dead.Header.Set(HeaderReason, f.Detail)
	dead.Header.Set(HeaderCode, f.Code)
	dead.Header.Set(HeaderSubject, b.cfg.Namespace.Strip(msg.Subject()))
	dead.Header.Set(HeaderSequence, strconv.FormatUint(d.Seq, 10))
	dead.Header.Set(HeaderDeliveries, strconv.FormatUint(d.Attempt, 10))
	dead.Header[trace.Header] = []string{trace.Parent(ctx)}
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	_, err := b.js.PublishMsg(ctx, dead, jetstream.WithMsgID(fmt.Sprintf("%s.%d", c.Name, d.Seq)))
	return translate("store a dead letter of "+c.Name, err)
}
