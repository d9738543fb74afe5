package bus

import (
	"context"
	"fmt"
	"math/rand/v2"
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

// Verdict is what becomes of a message.
type Verdict uint8

// The verdicts.
const (
	Ack    Verdict = iota // it is done
	Retry                 // it comes again after a delay
	Reject                // it becomes a dead letter
)

// String returns the verdict's name, as logs and metrics spell it.
func (v Verdict) String() string {
	switch v {
	case Ack:
		return "ack"
	case Retry:
		return "retry"
	default:
		return "bury"
	}
}

// internalTries is how often an event may meet a defect of ours before it is
// taken for poison. Dependencies that are away have no such limit.
const internalTries = 10

// VerdictOn maps what a handler returned for the n-th delivery to a verdict.
func VerdictOn(err error, n uint64) Verdict {
	switch {
	case err == nil:
		return Ack
	case fault.Is(err, fault.Internal) && n >= internalTries:
		return Reject
	case fault.KindOf(err).Retryable():
		return Retry
	case fault.Is(err, fault.Conflict): // the log has grown: the next delivery reads the newer one
		return Retry
	default:
		return Reject
	}
}

// redeliverDelay is the delay of a message that a replica returns when it stops.
const redeliverDelay = 100 * time.Millisecond

// The bounds of a retry's delay.
const (
	minDelay = 250 * time.Millisecond
	maxDelay = time.Minute
)

// Delay is how long the n-th delivery's retry waits: it doubles from a quarter
// of a second to a minute, and is jittered by half so that retries spread out.
func Delay(n uint64) time.Duration {
	d := maxDelay
	if n < 9 {
		d = min(maxDelay, minDelay<<(max(n, 1)-1))
	}
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
}

// backoff spaces the tries of something that is not a message.
type backoff struct{ n uint64 }

func (b *backoff) next() time.Duration {
	b.n++
	return min(Delay(b.n), 5*time.Second)
}

// settle is the one place where messages are acked, delayed or given up.
func (b *Bus) settle(ctx context.Context, c Consumer, msg jetstream.Msg, d Delivery, err error, start time.Time) {
	verdict := VerdictOn(err, d.Attempt)
	if verdict == Reject {
		if deadErr := b.deadLetter(ctx, c, msg, d, fault.As(err)); deadErr != nil {
			zerolog.Ctx(ctx).Warn().Err(deadErr).Msg("dead letter not kept yet")
			verdict = Retry
		}
	}
	var settled error
	switch verdict {
	case Ack:
		settled = msg.Ack()
	case Retry:
		settled = msg.NakWithDelay(c.delay(d.Backoff, fault.As(err).RetryAfter))
	case Reject:
		settled = msg.TermWithReason(fault.As(err).Code)
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
	if settled != nil { // it will come again, which handlers bear
		log = log.With().AnErr("settle_error", settled).Logger()
	}
	log.WithLevel(level).Msg("event handled")
}

// delay is when a message comes again, by how often it came and what its handler says.
func (c Consumer) delay(backoff, retryAfter time.Duration) time.Duration {
	if c.FixedDelay && retryAfter > 0 {
		return retryAfter
	}
	return max(backoff, retryAfter)
}

func (v Verdict) level() zerolog.Level {
	switch v {
	case Ack:
		return zerolog.DebugLevel
	case Retry:
		return zerolog.WarnLevel
	default:
		return zerolog.ErrorLevel
	}
}

// The headers of a dead letter, beside those of the message that it was.
const (
	HeaderReason     = "Sori-Reason"
	HeaderCode       = "Sori-Code"
	HeaderSubject    = "Sori-Subject"
	HeaderSequence   = "Sori-Sequence"
	HeaderDeliveries = "Sori-Deliveries"
)

// deadLetter lets the service fail the job, then keeps the message with the reason.
// Neither the cause nor anything else that may hold a secret goes along: the
// reason is the fault's code and detail.
func (b *Bus) deadLetter(ctx context.Context, c Consumer, msg jetstream.Msg, d Delivery, f *fault.Error) error {
	if c.OnDeadLetter != nil && d.Job != "" {
		if err := guard(func() error { return c.OnDeadLetter(ctx, d, f) }); err != nil {
			return fmt.Errorf("give up job %s: %w", d.Job, err)
		}
	}
	dead := nats.NewMsg(b.cfg.Namespace.Subject(event.DeadSubject(c.Name)))
	dead.Data = msg.Data()
	for k, v := range msg.Headers() {
		if k != jetstream.MsgIDHeader && k != jetstream.ExpectedLastSubjSeqHeader && k != jetstream.ExpectedLastSubjSeqSubjHeader {
			dead.Header[k] = v
		}
	}
	dead.Header.Set(HeaderReason, f.Detail)
	dead.Header.Set(HeaderCode, f.Code)
	dead.Header.Set(HeaderSubject, b.cfg.Namespace.Strip(msg.Subject()))
	dead.Header.Set(HeaderSequence, strconv.FormatUint(d.Seq, 10))
	dead.Header.Set(HeaderDeliveries, strconv.FormatUint(d.Attempt, 10))
	dead.Header[trace.Header] = []string{trace.Parent(ctx)}
	ctx, cancel := within(ctx)
	defer cancel()
	_, err := b.js.PublishMsg(ctx, dead, jetstream.WithMsgID(fmt.Sprintf("%s.%d", c.Name, d.Seq)))
	return translate("keep a dead letter of "+c.Name, err)
}
