package analyzerclient

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/fault"
)

const delay = 10 * time.Second

// env is a breaker that opens after three failures, with its log.
type env struct {
	t *testing.T
	*breaker
	logged bytes.Buffer
}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t}
	e.breaker = newBreaker(3, delay, zerolog.New(&e.logged))
	return e
}

func accepts() (string, error) { return "id", nil }

func refuses() (string, error) {
	return "", &analysis.RejectedError{Code: "analysis-rejected", Reason: "no", Err: errors.New("status 400")}
}

func fails() (string, error) { return "", unavailable(errors.New("status 500"), 0) }

func failsFor(d time.Duration) func() (string, error) {
	return func() (string, error) { return "", unavailable(errors.New("status 503"), d) }
}

// send calls throughBreaker. It returns whether the breaker admitted the request, and how long the
// job must wait.
func (e *env) send(request func() (string, error)) (reached bool, wait time.Duration) {
	e.t.Helper()
	id, err := throughBreaker(e.t.Context(), e.breaker, func() (string, error) {
		reached = true
		return request()
	})
	f := fault.As(err)
	if f == nil {
		return reached, 0
	}
	if id != "" || reached == (f.Code == "analysis-resting") {
		e.t.Errorf("reached: %v, %q %v", reached, id, err)
	}
	return reached, f.RetryAfter
}

// sleep waits for a duration of the fake clock of synctest.
func sleep(d time.Duration) { <-time.After(d) }

// isOpen checks that the breaker does not admit a request, and that the time to wait is the given
// one plus a jitter.
func (e *env) isOpen(about time.Duration) {
	e.t.Helper()
	reached, wait := e.send(accepts)
	if reached || wait < about || wait > about+about/10+time.Millisecond || wait > about+maxJitter || e.gauge() != 1 {
		e.t.Errorf("reached: %v, wait %v, want about %v; open %v", reached, wait, about, e.gauge())
	}
}

// admits checks that the breaker admits a request.
func (e *env) admits(request func() (string, error)) {
	e.t.Helper()
	if reached, wait := e.send(request); !reached {
		e.t.Errorf("it is open for another %v", wait)
	}
}

func TestItOpensAfterFailuresInARowAndAProbeClosesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		for _, request := range []func() (string, error){fails, fails, accepts, fails, fails, refuses, fails, fails} {
			e.admits(request)
			if e.gauge() != 0 {
				t.Fatal("it opened early")
			}
		}
		if _, wait := e.send(fails); wait < delay {
			t.Errorf("the third in a row waits %v", wait)
		}
		e.isOpen(delay)
		sleep(delay - time.Second)
		e.isOpen(time.Second)
		sleep(time.Second)
		e.admits(fails) // the probe
		e.isOpen(delay)
		sleep(delay)
		e.admits(refuses) // a rejection shows that the server is available
		for range 2 {
			e.admits(fails)
		}
		e.admits(accepts)
		if opened, closed := strings.Count(e.logged.String(), "circuit breaker opened"), strings.Count(e.logged.String(), "circuit breaker closed"); opened != 2 || closed != 1 {
			t.Errorf("logged %s", e.logged.String())
		}
	})
}

func TestWhileTheProbeIsUnderWayOtherRequestsWaitShortly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		e.admits(failsFor(time.Minute))
		sleep(time.Minute)
		e.admits(func() (string, error) {
			e.isOpen(probeDelay)
			sleep(time.Hour)
			e.isOpen(probeDelay)
			return "id", nil
		})
		e.admits(accepts)
		if e.gauge() != 0 {
			t.Error("the probe did not close it")
		}
	})
}

func TestARetryAfterOpensItAtOnceAndTheLongestCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		e.admits(failsFor(time.Millisecond)) // a Retry-After that is shorter than the default delay
		e.isOpen(time.Millisecond)
		sleep(time.Millisecond)
		e.admits(accepts)
		e.admits(func() (string, error) { // two concurrent requests, both sent while the breaker is closed
			e.admits(failsFor(time.Minute))
			e.isOpen(time.Minute)
			return failsFor(2 * time.Minute)()
		})
		e.isOpen(2 * time.Minute)
		sleep(2 * time.Minute)
		e.admits(func() (string, error) { // the Retry-After of the probe replaces the older one
			sleep(30 * time.Second)
			return failsFor(3 * time.Second)()
		})
		e.isOpen(3 * time.Second)
		sleep(3 * time.Second)
		e.admits(failsFor(24 * time.Hour))
		e.isOpen(maxDelay)
	})
}

func TestARequestFromAnEarlierStateChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		for name, late := range map[string]func() (string, error){"a failure": fails, "an acceptance": accepts} {
			e.admits(func() (string, error) { // a request whose answer arrives after the breaker has opened twice
				e.admits(failsFor(time.Second))
				sleep(time.Second)
				e.admits(func() (string, error) {
					e.isOpen(probeDelay)
					return fails()
				})
				e.isOpen(delay)
				sleep(delay / 2)
				return late()
			})
			e.isOpen(delay / 2)
			sleep(delay / 2)
			e.admits(accepts)
			if e.gauge() != 0 {
				t.Errorf("after %s it is open", name)
			}
		}
	})
}

func TestAProbeThatThisProcessAbortsIsMadeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		e.admits(failsFor(time.Second))
		sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := throughBreaker(ctx, e.breaker, func() (string, error) {
			cancel()
			return "", unavailable(ctx.Err(), 0)
		})
		if !fault.Is(err, fault.Unavailable) {
			t.Error(err)
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = throughBreaker(t.Context(), e.breaker, func() (string, error) { panic("a defect") })
		}()
		e.admits(accepts)
		if e.gauge() != 0 || strings.Count(e.logged.String(), "circuit breaker opened") != 1 {
			t.Errorf("open %v, logged %s", e.gauge(), e.logged.String())
		}
		for range 100 { // requests that are aborted while the breaker is closed are not failures
			_, _ = throughBreaker(ctx, e.breaker, fails)
		}
		e.admits(accepts)
	})
}

func TestThereIsNeverMoreThanOneProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		var sent, probes, most atomic.Int64
		var wg sync.WaitGroup
		end := time.Now().Add(10 * time.Minute) // from this time on the server accepts requests
		for i := range 200 {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			wg.Go(func() {
				for accepted := false; !accepted; {
					_, err := throughBreaker(t.Context(), e.breaker, func() (string, error) {
						sent.Add(1)
						if e.gauge() == 1 {
							most.Store(max(most.Load(), probes.Add(1)))
							defer probes.Add(-1)
						}
						sleep(time.Duration(1+rnd.IntN(3000)) * time.Millisecond)
						if time.Now().After(end) {
							return accepts()
						}
						return fails()
					})
					if accepted = err == nil; !accepted {
						sleep(max(fault.As(err).RetryAfter, time.Second))
					}
				}
			})
		}
		wg.Wait()
		// The number of requests: 200 before the first failures are known, about 60 probes in ten
		// minutes, 200 after the server is available, and a few more.
		if most.Load() > 1 || sent.Load() > 200+60+200+5 || time.Since(end) > 2*delay {
			t.Errorf("sent %d requests, %d probes at once, done after %v", sent.Load(), most.Load(), time.Since(end))
		}
	})
}

func TestAPauseLastsUntilAProbeMayBeSentAndWhileItIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		if d := e.paused(); d != 0 {
			t.Errorf("closed: paused for %v", d)
		}
		e.send(failsFor(time.Minute))
		if d := e.paused(); d != time.Minute {
			t.Errorf("open: paused for %v", d)
		}
		<-time.After(time.Minute)
		if d := e.paused(); d != 0 {
			t.Errorf("a probe may be sent: paused for %v", d)
		}
		e.send(func() (string, error) {
			if d := e.paused(); d != probeDelay {
				t.Errorf("the probe is sent: paused for %v", d)
			}
			return accepts()
		})
		if d := e.paused(); d != 0 {
			t.Errorf("closed again: paused for %v", d)
		}
	})
}
