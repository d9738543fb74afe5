// Package health answers the liveness and readiness probes of a process.
//
// Liveness means only that the process responds: a restart would not make a dependency available.
// Readiness checks every dependency, and reports which ones are unavailable. It turns false as soon
// as the process is asked to stop. The log says why a dependency is unavailable, and when it is available
// again.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/logging"
)

// Check checks whether one dependency responds.
type Check func(context.Context) error

// The limits of one round of checks. Probes reuse results that are younger than probeMemory, so that
// frequent probes put no load on the dependencies. Metrics reuse results that are younger than
// metricsMemory, so that a scrape seldom waits for a check if the process is also probed.
const (
	timeout       = 2 * time.Second
	probeMemory   = 500 * time.Millisecond
	metricsMemory = 10 * time.Second
)

// Health is the health of a process.
type Health struct {
	checks  map[string]Check
	log     zerolog.Logger
	started atomic.Bool
	stopped atomic.Bool

	mu      sync.Mutex
	last    map[string]string
	at      time.Time
	pending map[string]chan error // checks that have begun and not ended

	unavailable map[string]bool // the dependencies whose unavailability is logged
}

// New makes the health of a process that is starting, with the checks of its dependencies by their
// names.
func New(checks map[string]Check, log zerolog.Logger) *Health {
	return &Health{checks: checks, log: log, pending: map[string]chan error{}, unavailable: map[string]bool{}}
}

// Started is called when the setup is done. Until then the process is not ready.
func (h *Health) Started() { h.started.Store(true) }

// Watch turns readiness off when ctx ends. It runs as a component of the process.
func (h *Health) Watch(ctx context.Context) error {
	<-ctx.Done()
	h.stopped.Store(true)
	return nil
}

// Ready reports whether the process is ready, and for each dependency "ok" or "unavailable". It
// does not report causes, since the route is public. It reuses results that are younger than half a
// second, and waits at most two seconds for a check.
func (h *Health) Ready(ctx context.Context) (bool, map[string]string) {
	found := h.look(ctx, probeMemory)
	ready := h.started.Load() && !h.stopped.Load()
	for _, state := range found {
		ready = ready && state == "ok"
	}
	return ready, found
}

// Dependencies reports for each dependency whether it is available, for the metrics. It reuses
// results that are younger than ten seconds, and waits at most two seconds for a check.
func (h *Health) Dependencies(ctx context.Context) map[string]bool {
	available := make(map[string]bool, len(h.checks))
	for name, state := range h.look(ctx, metricsMemory) {
		available[name] = state == "ok"
	}
	return available
}

// look returns the state of each dependency. It reuses results that are younger than memory.
func (h *Health) look(ctx context.Context, memory time.Duration) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last != nil && time.Since(h.at) < memory {
		return h.last
	}
	// The cancellation of one probe must not affect the response to the next one.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	begun := make(map[string]chan error, len(h.checks))
	found, causes := make(map[string]string, len(h.checks)), make(map[string]error, len(h.checks))
	for name := range h.checks {
		found[name], causes[name] = "unavailable", errUnanswered
		if answer := h.begin(ctx, name); answer != nil {
			begun[name] = answer
		}
	}
	for name, answer := range begun {
		err, answered := await(ctx, answer)
		if !answered {
			continue
		}
		delete(h.pending, name)
		causes[name] = err
		if err == nil {
			found[name] = "ok"
		}
	}
	h.logChanges(found, causes)
	h.last, h.at = found, time.Now()
	return found
}

// logChanges logs which dependencies have become unavailable, with the causes, and which are
// available again. Until the setup is done, the setup logs what it waits for.
func (h *Health) logChanges(found map[string]string, causes map[string]error) {
	if !h.started.Load() {
		return
	}
	for name, state := range found {
		unavailable := state != "ok"
		if unavailable == h.unavailable[name] {
			continue
		}
		h.unavailable[name] = unavailable
		if unavailable {
			h.log.Warn().Err(causes[name]).Str(logging.Dependency, name).Msg("dependency unavailable")
		} else {
			h.log.Info().Str(logging.Dependency, name).Msg("dependency available again")
		}
	}
}

var errUnanswered = errors.New("the check did not end in time")

// await returns the result of a check; answered is false if the check has not finished. The result
// of a check that finished in time counts even if another check has used up the time of the round.
func await(ctx context.Context, answer <-chan error) (err error, answered bool) {
	select {
	case err := <-answer:
		return err, true
	case <-ctx.Done():
	}
	select {
	case err := <-answer:
		return err, true
	default:
		return nil, false
	}
}

// begin starts a check. A check should return when its context ends. If the previous check of the
// dependency has not returned yet, begin returns nil and starts no other check.
func (h *Health) begin(ctx context.Context, name string) chan error {
	if earlier := h.pending[name]; earlier != nil && len(earlier) == 0 {
		return nil
	} // otherwise the earlier check has ended, and its result is out of date
	answer := make(chan error, 1)
	h.pending[name] = answer
	check := h.checks[name]
	go func() { answer <- check(ctx) }()
	return answer
}

// ServeLive answers GET /livez.
func (h *Health) ServeLive(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{"status": "ok"})
}

// ServeReady answers GET /readyz: 200 or 503, with the state of each dependency.
func (h *Health) ServeReady(w http.ResponseWriter, r *http.Request) {
	ready, found := h.Ready(r.Context())
	if !ready {
		reply(w, http.StatusServiceUnavailable, map[string]any{"status": "unavailable", "checks": found})
		return
	}
	reply(w, http.StatusOK, map[string]any{"status": "ok", "checks": found})
}

// ServeHealth answers GET /health with 200 and the status "healthy", which existing monitors
// expect. It checks no dependency.
func (h *Health) ServeHealth(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{"status": "healthy"})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means that the client has left
}
