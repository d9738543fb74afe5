package health_test

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/health"
)

func TestReadinessFollowsStartDependencyAndStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away error
		var log bytes.Buffer
		h := health.New(map[string]health.Check{
			"bus":      func(context.Context) error { return nil },
			"database": func(context.Context) error { return away },
		}, zerolog.New(&log))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = h.Watch(ctx) }()
		expect := func(step string, want int) {
			t.Helper()
			<-time.After(time.Second) // fake time of synctest, after which the cached result expires
			rec := httptest.NewRecorder()
			h.ServeReady(rec, httptest.NewRequest("GET", "/readyz", nil))
			if rec.Code != want {
				t.Errorf("%s: %d %s", step, rec.Code, rec.Body)
			}
			if strings.Contains(rec.Body.String(), "10.0.0.1") {
				t.Errorf("%s: shows a cause: %s", step, rec.Body)
			}
			live := httptest.NewRecorder()
			h.ServeLive(live, httptest.NewRequest("GET", "/livez", nil))
			if live.Code != 200 {
				t.Errorf("%s: not alive", step)
			}
		}
		expect("starting", 503)
		away = errors.New("not set up")
		expect("starting", 503)
		away = nil
		h.Started()
		expect("started", 200)
		away = errors.New("dial 10.0.0.1")
		expect("away", 503)
		away = nil
		expect("back", 200)
		expect("still there", 200)
		cancel()
		expect("stopping", 503)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `"error":"dial 10.0.0.1","dependency":"database","message":"dependency unavailable"`) ||
			!strings.Contains(lines[1], `"dependency":"database","message":"dependency available again"`) {
			t.Errorf("log: %q", lines)
		}
	})
}

func TestMetricsReuseTheResultsOfProbesForTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away error
		checks := 0
		h := health.New(map[string]health.Check{
			"bus":      func(context.Context) error { return nil },
			"database": func(context.Context) error { checks++; return away },
		}, zerolog.Nop())
		expect := func(step string, database bool, want int) {
			t.Helper()
			if got := h.Dependencies(t.Context()); len(got) != 2 || !got["bus"] || got["database"] != database || checks != want {
				t.Errorf("%s: %v after %d checks, want %d", step, got, checks, want)
			}
		}
		expect("without a probe", true, 1)
		away = errors.New("dial 10.0.0.1")
		<-time.After(9 * time.Second) // fake time of synctest
		expect("nine seconds later", true, 1)
		<-time.After(2 * time.Second)
		expect("eleven seconds later", false, 2)
		away = nil
		<-time.After(time.Second)
		h.Ready(t.Context())
		expect("after a probe", true, 3)
	})
}

func TestACheckThatHangsIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := health.New(map[string]health.Check{
			"bus": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		}, zerolog.New(&log))
		h.Started()
		start := time.Now()
		if ready, found := h.Ready(t.Context()); ready || found["bus"] != "unavailable" {
			t.Errorf("%v %v", ready, found)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
		if !strings.Contains(log.String(), "dependency unavailable") {
			t.Errorf("log: %s", &log)
		}
	})
}

func TestACheckThatIgnoresItsEndIsNotWaitedForNorBegunTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		hung := make(chan struct{})
		h := health.New(map[string]health.Check{
			"bus":      func(context.Context) error { return nil },
			"database": func(context.Context) error { begun.Add(1); <-hung; return nil },
		}, zerolog.Nop())
		h.Started()
		for range 5 {
			start := time.Now()
			if ready, found := h.Ready(t.Context()); ready || found["database"] != "unavailable" || found["bus"] != "ok" {
				t.Errorf("%v %v", ready, found)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
			<-time.After(time.Second) // fake time of synctest, after which the cached result expires
		}
		if n := begun.Load(); n != 1 {
			t.Errorf("begun %d times", n)
		}
		close(hung)
		<-time.After(time.Second)
		if ready, found := h.Ready(t.Context()); !ready {
			t.Errorf("afterwards: %v", found)
		}
	})
}

// The results are read one after the other. In half of the rounds the check that hangs is among the first.
func TestACheckThatHangsDoesNotHideTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		checks := map[string]health.Check{
			"hung": func(ctx context.Context) error {
				<-ctx.Done()
				<-time.After(time.Second) // later than the round ends, in the fake time of synctest
				return ctx.Err()
			},
		}
		for _, name := range []string{"bus", "database", "storage", "tracker"} {
			checks[name] = func(context.Context) error { return nil }
		}
		h := health.New(checks, zerolog.Nop())
		h.Started()
		for range 50 {
			_, found := h.Ready(t.Context())
			for name, state := range found {
				if (state == "ok") != (name != "hung") {
					t.Errorf("%s is %s", name, state)
				}
			}
			<-time.After(2 * time.Second) // fake time of synctest, after which the cached result expires
		}
	})
}
