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

// breaker is the circuit breaker for all requests of this process to the analysis server.
//
// The breaker opens after a number of consecutive failures, or when the server sends Retry-After.
// After the delay it is half-open: one request is sent as a probe, whose outcome closes the breaker
// or opens it again. The field circuit counts failures and admits the probe. The delay is not part
// of circuit, because failsafe-go supports only a fixed delay and each Retry-After may be
// different.
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
	probeDelay = time.Second     // delay of other requests while the probe is being sent
	maxJitter  = 5 * time.Second // largest random addition to a delay
)

// outcome is what one request has shown about the state of the server.
type outcome uint8

const (
	aborted  outcome = iota // nothing: this process aborted the request
	answered                // available: the server accepted or rejected the request
	failed                  // unavailable
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

// throughBreaker calls request and records the outcome. While the breaker is open, it returns an
// error without calling request.
func throughBreaker[T any](ctx context.Context, b *breaker, request func() (T, error)) (answer T, err error) {
	state, wait := b.admit()
	if wait > 0 {
		return answer, &fault.Error{
			Kind: fault.Unavailable, Code: "analysis-resting", RetryAfter: wait, Logged: true,
			Detail: "The analysis server is busy or away, and is not asked for a while.",
		}
	}
	result := aborted // stays aborted if request panics
	defer func() { err = b.record(state, result, err) }()
	answer, err = request()
	result = outcomeOf(ctx, err)
	return answer, err
}

// admit reports whether a request may be sent: a wait of 0 means that it may. A larger wait is the
// time until the request may be tried again. admit also returns the state of the breaker.
func (b *breaker) admit() (circuitbreaker.State, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Until(b.openUntil) > 0 || !b.circuit.TryAcquirePermit() {
		return b.circuit.State(), b.retryAfter()
	}
	return b.circuit.State(), 0
}

// record records the outcome of a request. admitted is the state of the breaker when the request
// was admitted: if the state has changed since, circuit does not count the outcome. If the request
// failed and the breaker is not closed, the returned error has the delay of the job as RetryAfter.
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
				b.circuit.Open() // the delay is 0, so the next request is the probe
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

// openAfter opens the breaker after a failure if necessary, or extends the time for which it is
// open. It returns the failure. If the breaker is not closed, the failure has the delay of its job
// as RetryAfter.
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

// retryAfter returns how long a job that is not admitted must wait. It adds a jitter, so that not
// all jobs are sent again at once.
func (b *breaker) retryAfter() time.Duration {
	delay := time.Until(b.openUntil)
	if delay <= 0 {
		delay = probeDelay
	}
	return delay + rand.N(min(delay/10, maxJitter)+1)
}

// paused returns for how long the breaker admits no requests; 0 if it admits the next one. While a
// probe is being sent, the end of the pause is not known, and paused returns at least probeDelay.
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
