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

// internalTries is how many deliveries may fail with an internal error before the message becomes a
// dead letter. An unavailable dependency has no such limit.
const internalTries = 10

// VerdictOn returns how the n-th delivery of a message is settled, by the error of its handler.
func VerdictOn(err error, n uint64) Verdict {
	switch {
	case err == nil:
		return Ack
	case fault.Is(err, fault.Internal) && n >= internalTries:
		return Reject
	case fault.KindOf(err).Retryable():
		return Retry
	case fault.Is(err, fault.Conflict): // the log has grown: the next delivery reads the newer log
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

// Delay returns how long the retry after the n-th delivery waits. It doubles with each delivery,
// from a quarter of a second to a minute. A random part of up to half of it spreads the retries of
// many messages.
func Delay(n uint64) time.Duration {
	d := maxDelay
	if n < 9 {
		d = min(maxDelay, minDelay<<(max(n, 1)-1))
	}
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
}

// backoff computes the delays between the attempts of an operation that is not a message.
type backoff struct{ n uint64 }

func (b *backoff) next() time.Duration {
	b.n++
	return min(Delay(b.n), 5*time.Second)
}
