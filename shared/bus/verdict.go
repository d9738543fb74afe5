package bus

import (
	"math/rand/v2"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/fault"
)

// Verdict is the way in which a message is settled.
type Verdict uint8

// The verdicts.
const (
	Ack    Verdict = iota // the event is processed
	Retry                 // the message is redelivered after a delay
	Reject                // the message becomes a dead letter
)

// String returns the name of the verdict in logs and metrics.
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

// internalTries is how many deliveries a message must have had before it becomes a dead letter with an
// internal error (see also minDefects). An unavailable dependency has no such limit.
const internalTries = 10

// VerdictOn returns how the n-th delivery of a message is settled, by the error of its handler.
// After an internal error the message is redelivered until the tenth delivery; from then on
// VerdictOn rejects it. Nevertheless, the message becomes a dead letter only if its last three
// deliveries to this process all failed with internal errors.
func VerdictOn(err error, n uint64) Verdict {
	switch {
	case err == nil:
		return Ack
	case fault.Is(err, fault.Internal) && n >= internalTries:
		return Reject
	case fault.KindOf(err).Retryable():
		return Retry
	case fault.Is(err, fault.Conflict): // another writer has appended an event: after redelivery the handler reads the newer log
		return Retry
	default:
		return Reject
	}
}

// The limits of a redelivery's delay.
const (
	minDelay = 250 * time.Millisecond
	maxDelay = time.Minute
)

// Delay returns the delay between the n-th delivery of a message and its redelivery. The delay
// doubles with each delivery, from a quarter of a second to a minute. Up to half of it is random,
// so that the redeliveries of many messages are spread over time.
func Delay(n uint64) time.Duration {
	d := maxDelay
	if n < 9 {
		d = min(maxDelay, minDelay<<(max(n, 1)-1))
	}
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
}

// backoff computes the delays between the attempts of an operation other than the handling of a
// message.
type backoff struct{ n uint64 }

func (b *backoff) next() time.Duration {
	b.n++
	return min(Delay(b.n), 5*time.Second)
}
