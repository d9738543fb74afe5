package server

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/rs/zerolog"

	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// breaker gives a server that is away, or that asks for it, a rest: from all jobs
// of this process at once.
//
// It opens when the server has failed some times in a row, or when it says
// Retry-After. Once the rest is over one request goes through as a trial, and what
// becomes of that closes the breaker or opens it again. Of the two parts, circuit
// counts failures and lends the trial its permit; it could keep a delay too, but
// one for all, and the server may ask for any.
type breaker struct {
	delay time.Duration // of a rest that the server did not measure out itself
	log   zerolog.Logger

	mu      sync.Mutex
	circuit circuitbreaker.CircuitBreaker[any]
	until   time.Time // no request before
}

func newBreaker(failures int, delay time.Duration, log zerolog.Logger) *breaker {
	return &breaker{delay: delay, log: log, circuit: circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(uint(failures)).WithSuccessThreshold(1).WithDelay(0).Build()}
}

// The bounds of waiting.
const (
	maxRest    = time.Hour       // whatever the server asks for
	trialPause = time.Second     // while a trial is under way
	maxSpread  = 5 * time.Second // between the first and the last of those who come back
)

// outcome is what a request tells of the server.
type outcome uint8

const (
	abandoned outcome = iota // nothing: we cut it short
	answered                 // it is there, whatever it said
	failed                   // it is away, or busy
)

func outcomeOf(ctx context.Context, err error) outcome {
	switch {
	case !fault.Is(err, fault.Unavailable):
		return answered
	case ctx.Err() != nil:
		return abandoned
	default:
		return failed
	}
}

// try makes a request, unless the server has a rest, and learns from it.
func try[T any](ctx context.Context, b *breaker, request func() (T, error)) (answer T, err error) {
	state, wait := b.admit()
	if wait > 0 {
		return answer, &fault.Error{
			Kind: fault.Unavailable, Code: "analysis-resting", RetryAfter: wait, Told: true,
			Detail: "The analysis server is busy or away, and is not asked for a while.",
		}
	}
	became := abandoned // which is what a panic leaves
	defer func() { err = b.settle(state, became, err) }()
	answer, err = request()
	became = outcomeOf(ctx, err)
	return answer, err
}

// admit lets a request through, and tells in which state; or it tells how long to
// wait.
func (b *breaker) admit() (circuitbreaker.State, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Until(b.until) > 0 || !b.circuit.TryAcquirePermit() {
		return b.circuit.State(), b.wait()
	}
	return b.circuit.State(), 0
}

// settle learns what became of a request, and returns its error as its job is to
// see it. A permit that was lent comes back, whatever became of it.
func (b *breaker) settle(admitted circuitbreaker.State, became outcome, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.circuit.State()
	if before == admitted { // what was begun in another state tells of another time
		switch became {
		case answered:
			b.circuit.RecordSuccess()
		case failed:
			b.circuit.RecordFailure()
		case abandoned:
			if before == circuitbreaker.HalfOpenState {
				b.circuit.Open() // without a rest: the next request is the trial
			}
		}
	}
	if became == failed {
		b.rest(before, fault.As(err))
	}
	if before != circuitbreaker.ClosedState && b.circuit.IsClosed() {
		b.log.Info().Msg("analysis server is back")
	}
	return err
}

// rest begins or prolongs a rest after a failure, where one is due, and tells the
// failure how long it is.
func (b *breaker) rest(before circuitbreaker.State, f *fault.Error) {
	rest := min(f.RetryAfter, maxRest)
	if rest > 0 {
		b.circuit.Open()
	}
	opened := before != circuitbreaker.OpenState && b.circuit.IsOpen()
	if opened && rest == 0 {
		rest = b.delay
	}
	if until := time.Now().Add(rest); until.After(b.until) {
		b.until = until
	}
	if opened {
		b.log.Warn().Err(f).Float64(logging.Wait, logging.Millis(time.Until(b.until))).Msg("analysis server is given a rest")
	}
	if !b.circuit.IsClosed() {
		f.RetryAfter, f.Told = b.wait(), true
	}
}

// wait is how long whoever comes now has to wait: some a little longer than
// others, so that they do not all come back at once.
func (b *breaker) wait() time.Duration {
	rest := time.Until(b.until)
	if rest <= 0 {
		rest = trialPause
	}
	return rest + rand.N(min(rest/10, maxSpread)+1)
}

// open is 1 while the server has a rest, or is on trial, and else 0.
func (b *breaker) open() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.circuit.IsClosed() {
		return 0
	}
	return 1
}
