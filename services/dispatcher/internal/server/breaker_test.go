package server

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

// talk is a breaker that opens after three failures, and what it logs.
type talk struct {
	t *testing.T
	*breaker
	logged bytes.Buffer
}

func newTalk(t *testing.T) *talk {
	t.Helper()
	k := &talk{t: t}
	k.breaker = newBreaker(3, delay, zerolog.New(&k.logged))
	return k
}

func accepts() (string, error) { return "id", nil }

func refuses() (string, error) {
	return "", &analysis.RejectedError{Code: "analysis-rejected", Reason: "no", Err: errors.New("status 400")}
}

func fails() (string, error) { return "", away(errors.New("status 500"), 0) }

func failsFor(d time.Duration) func() (string, error) {
	return func() (string, error) { return "", away(errors.New("status 503"), d) }
}

// asks makes a request, and tells whether the server got it and how long its job
// has to wait.
func (k *talk) asks(request func() (string, error)) (reached bool, wait time.Duration) {
	k.t.Helper()
	id, err := try(k.t.Context(), k.breaker, func() (string, error) {
		reached = true
		return request()
	})
	f := fault.As(err)
	if f == nil {
		return reached, 0
	}
	if id != "" || reached == (f.Code == "analysis-resting") {
		k.t.Errorf("reached: %v, %q %v", reached, id, err)
	}
	return reached, f.RetryAfter
}

// pass lets time pass, on synctest's clock.
func pass(d time.Duration) { <-time.After(d) }

// rests holds that the server is not asked, for about so long.
func (k *talk) rests(about time.Duration) {
	k.t.Helper()
	reached, wait := k.asks(accepts)
	if reached || wait < about || wait > about+about/10+time.Millisecond || wait > about+maxSpread || k.open() != 1 {
		k.t.Errorf("reached: %v, wait %v, want about %v; open %v", reached, wait, about, k.open())
	}
}

// takes holds that the server is asked.
func (k *talk) takes(request func() (string, error)) {
	k.t.Helper()
	if reached, wait := k.asks(request); !reached {
		k.t.Errorf("it is not asked for another %v", wait)
	}
}

func TestItOpensAfterFailuresInARowAndATrialClosesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalk(t)
		for _, request := range []func() (string, error){fails, fails, accepts, fails, fails, refuses, fails, fails} {
			k.takes(request)
			if k.open() != 0 {
				t.Fatal("it opened early")
			}
		}
		if _, wait := k.asks(fails); wait < delay {
			t.Errorf("the third in a row waits %v", wait)
		}
		k.rests(delay)
		pass(delay - time.Second)
		k.rests(time.Second)
		pass(time.Second)
		k.takes(fails) // the trial
		k.rests(delay)
		pass(delay)
		k.takes(refuses) // is an answer
		for range 2 {
			k.takes(fails)
		}
		k.takes(accepts)
		if opened, closed := strings.Count(k.logged.String(), "given a rest"), strings.Count(k.logged.String(), "is back"); opened != 2 || closed != 1 {
			t.Errorf("logged %s", k.logged.String())
		}
	})
}

func TestWhileATrialIsUnderWayTheOthersComeBackSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalk(t)
		k.takes(failsFor(time.Minute))
		pass(time.Minute)
		k.takes(func() (string, error) {
			k.rests(trialPause)
			pass(time.Hour)
			k.rests(trialPause)
			return "id", nil
		})
		k.takes(accepts)
		if k.open() != 0 {
			t.Error("the trial did not close it")
		}
	})
}

func TestTheServersOwnWordCountsAtOnceAndTheLongest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalk(t)
		k.takes(failsFor(time.Millisecond)) // shorter than the delay
		k.rests(time.Millisecond)
		pass(time.Millisecond)
		k.takes(accepts)
		k.takes(func() (string, error) { // two that began before either was answered
			k.takes(failsFor(time.Minute))
			k.rests(time.Minute)
			return failsFor(2 * time.Minute)()
		})
		k.rests(2 * time.Minute)
		pass(2 * time.Minute)
		k.takes(func() (string, error) { // the trial's is the last word
			pass(30 * time.Second)
			return failsFor(3 * time.Second)()
		})
		k.rests(3 * time.Second)
		pass(3 * time.Second)
		k.takes(failsFor(24 * time.Hour))
		k.rests(maxRest)
	})
}

func TestWhatWasBegunBeforeTellsNothingOfNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalk(t)
		for name, late := range map[string]func() (string, error){"a failure": fails, "an acceptance": accepts} {
			k.takes(func() (string, error) { // hangs until the trial is under way
				k.takes(failsFor(time.Second))
				pass(time.Second)
				k.takes(func() (string, error) {
					k.rests(trialPause)
					return fails()
				})
				k.rests(delay)
				pass(delay / 2)
				return late()
			})
			k.rests(delay / 2)
			pass(delay / 2)
			k.takes(accepts)
			if k.open() != 0 {
				t.Errorf("after %s it is open", name)
			}
		}
	})
}

func TestATrialThatWeCutShortIsMadeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalk(t)
		k.takes(failsFor(time.Second))
		pass(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := try(ctx, k.breaker, func() (string, error) {
			cancel()
			return "", away(ctx.Err(), 0)
		})
		if !fault.Is(err, fault.Unavailable) {
			t.Error(err)
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = try(t.Context(), k.breaker, func() (string, error) { panic("a defect") })
		}()
		k.takes(accepts)
		if k.open() != 0 || strings.Count(k.logged.String(), "given a rest") != 1 {
			t.Errorf("open %v, logged %s", k.open(), k.logged.String())
		}
		for range 100 { // cut short while all is well, they are no failures
			_, _ = try(ctx, k.breaker, fails)
		}
		k.takes(accepts)
	})
}

func TestThereIsNeverMoreThanOneTrial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newTalk(t)
		var asked, trials, most atomic.Int64
		var wg sync.WaitGroup
		end := time.Now().Add(10 * time.Minute) // when the server is well again
		for i := range 200 {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			wg.Go(func() {
				for accepted := false; !accepted; {
					_, err := try(t.Context(), k.breaker, func() (string, error) {
						asked.Add(1)
						if k.open() == 1 {
							most.Store(max(most.Load(), trials.Add(1)))
							defer trials.Add(-1)
						}
						pass(time.Duration(1+rnd.IntN(3000)) * time.Millisecond)
						if time.Now().After(end) {
							return accepts()
						}
						return fails()
					})
					if accepted = err == nil; !accepted {
						pass(max(fault.As(err).RetryAfter, time.Second))
					}
				}
			})
		}
		wg.Wait()
		// All at once before anything is known, a trial each delay, and all again.
		if most.Load() > 1 || asked.Load() > 200+60+200+5 || time.Since(end) > 2*delay {
			t.Errorf("asked %d times, %d trials at once, done after %v", asked.Load(), most.Load(), time.Since(end))
		}
	})
}
