package analyzerclient

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

// breaker is the circuit breaker for all requests of this process.
//
// It opens after a number of consecutive failures, or when the server sends Retry-After. After the
// delay it is half-open: one request is sent as a probe, whose outcome closes the breaker or opens
// it again. circuit counts failures and admits the probe. The delay is stored here, since
// failsafe-go supports only a fixed delay, and each Retry-After has its own.
type breaker struct {
	delay time.Duration // how long the breaker stays open if the server sends no Retry-After
	log   zerolog.Logger

	mu        sync.Mutex
	circuit   circuitbreaker.CircuitBreaker[any]
	openUntil time.Time // no request is sent before this time
}

func newBreaker(failures int, delay time.Duration, log zerolog.Logger) *breaker {
	return &breaker{delay: delay, log: log, circuit: circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(uint(failures)).WithSuccessThreshold(1).WithDelay(0).Build()}
}

const (
	maxDelay   = time.Hour       // longest delay that a server can request
	probeDelay = time.Second     // delay of requests that arrive during the probe
	maxJitter  = 5 * time.Second // the largest difference between the delays of jobs
)

// outcome is the state of the server, as one request has shown it.
type outcome uint8

const (
	aborted  outcome = iota // unknown: this process aborted the request
	answered                // the server is available, whatever it answered
	failed                  // the server is unavailable
)

func outcomeOf(ctx context.Context, err error) outcome {
	switch {
	case !fault.Is(err, fault.Unavailable):
		return answered
	case ctx.Err() != nil:
		return aborted
	default:
		return failed
	}
}

// throughBreaker calls request unless the breaker is open, and records the outcome.
func throughBreaker[T any](ctx context.Context, b *breaker, request func() (T, error)) (answer T, err error) {
	state, wait := b.admit()
	if wait > 0 {
		return answer, &fault.Error{
			Kind: fault.Unavailable, Code: "analysis-resting", RetryAfter: wait, Logged: true,
			Detail: "The analysis server is busy or away, and is not asked for a while.",
		}
	}
	result := aborted // also after a panic
	defer func() { err = b.record(state, result, err) }()
	answer, err = request()
	result = outcomeOf(ctx, err)
	return answer, err
}

// admit admits a request and returns the state of the breaker at that time. If it does not admit
// the request, it returns the time to wait.
func (b *breaker) admit() (circuitbreaker.State, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Until(b.openUntil) > 0 || !b.circuit.TryAcquirePermit() {
		return b.circuit.State(), b.retryAfter()
	}
	return b.circuit.State(), 0
}

// record records the outcome of a request that was admitted in the state admitted. It returns the
// error of the request, with the delay of its job if the breaker is not closed. If the state has
// changed since, the outcome is ignored.
func (b *breaker) record(admitted circuitbreaker.State, result outcome, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.circuit.State()
	if before == admitted {
		switch result {
		case answered:
			b.circuit.RecordSuccess()
		case failed:
			b.circuit.RecordFailure()
		case aborted:
			if before == circuitbreaker.HalfOpenState {
				b.circuit.Open() // without a delay: the next request is the probe
			}
		}
	}
	if result == failed {
		err = b.openAfter(before, fault.As(err))
	}
	if before != circuitbreaker.ClosedState && b.circuit.IsClosed() {
		b.log.Info().Msg("circuit breaker closed")
	}
	return err
}

// openAfter opens the breaker after a failure, or extends the time for which it is open, if
// necessary. It returns the failure, with the delay of its job if the breaker is not closed.
func (b *breaker) openAfter(before circuitbreaker.State, f *fault.Error) error {
	delay := min(f.RetryAfter, maxDelay)
	if delay > 0 {
		b.circuit.Open()
	}
	opened := before != circuitbreaker.OpenState && b.circuit.IsOpen()
	if opened && delay == 0 {
		delay = b.delay
	}
	if until := time.Now().Add(delay); until.After(b.openUntil) {
		b.openUntil = until
	}
	if opened {
		b.log.Warn().Err(f).Float64(logging.Wait, logging.Millis(time.Until(b.openUntil))).Msg("circuit breaker opened")
	}
	if b.circuit.IsClosed() {
		return f
	}
	delayed := *f
	delayed.RetryAfter, delayed.Logged = b.retryAfter(), true
	return &delayed
}

// retryAfter returns how long a new request must wait. The time has a jitter, so that not all jobs
// are sent again at once.
func (b *breaker) retryAfter() time.Duration {
	delay := time.Until(b.openUntil)
	if delay <= 0 {
		delay = probeDelay
	}
	return delay + rand.N(min(delay/10, maxJitter)+1)
}

// paused returns how long the breaker admits no request, or 0 if it admits the next one. While a
// probe is sent, the time is not known, and paused returns at least probeDelay.
func (b *breaker) paused() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.circuit.IsHalfOpen() {
		return max(time.Until(b.openUntil), probeDelay)
	}
	return max(time.Until(b.openUntil), 0)
}

// gauge returns 1 while the breaker is open or half-open, and 0 while it is closed.
func (b *breaker) gauge() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.circuit.IsClosed() {
		return 0
	}
	return 1
}
