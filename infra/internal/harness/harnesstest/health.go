package harnesstest

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"sori.internal/infra/internal/harness"
)

// The limits for the responses of the health routes. They are generous, because other tests run on the machine at the same time.
const (
	askEvery  = 200 * time.Millisecond
	answersIn = 10 * time.Second // limit for /livez and /readyz, even if dependencies are unavailable

	NoticesIn = 8 * time.Second  // limit until /readyz reports that a dependency is unavailable
	ReturnsIn = 20 * time.Second // limit until the service is ready after the dependency has returned
)

// healthWatch polls the health routes of every service.
type healthWatch struct {
	t      *testing.T
	client *http.Client

	mu      sync.Mutex
	ready   map[string]bool // readiness by process
	changed chan struct{}   // closed, and replaced, with every answer of /readyz

	end func() // stops polling; may be called several times
}

// watchHealth starts to poll, until the end of the test at the latest. The test fails if /livez of a
// process ever answers anything but 200, or if a process takes too long to answer.
func watchHealth(c *System) *healthWatch {
	w := &healthWatch{
		t: c.t, client: &http.Client{Timeout: 2 * answersIn},
		ready: map[string]bool{}, changed: make(chan struct{}),
	}
	all := c.All()
	for _, p := range all {
		w.ready[p.Name()] = true
	}
	ctx, cancel := context.WithCancel(c.Ctx)
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() { w.ask(ctx, p) })
	}
	w.end = func() {
		cancel()
		wg.Wait()
	}
	c.t.Cleanup(w.end)
	return w
}

func (w *healthWatch) ask(ctx context.Context, p *harness.Process) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		if status := w.get(ctx, p, "/livez"); status != http.StatusOK && ctx.Err() == nil {
			w.t.Errorf("%s: /livez answers %d", p.Name(), status)
		}
		status := w.get(ctx, p, "/readyz")
		if ctx.Err() != nil {
			return
		}
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			w.t.Errorf("%s: /readyz answers %d", p.Name(), status)
		}
		w.mu.Lock()
		w.ready[p.Name()] = status == http.StatusOK
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// get sends a request and returns the status of the answer, or 0 if there was no answer.
func (w *healthWatch) get(ctx context.Context, p *harness.Process, path string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+path, nil)
	if err != nil {
		w.t.Error(err)
		return 0
	}
	asked := time.Now()
	resp, err := w.client.Do(req)
	if took := time.Since(asked); took > answersIn && ctx.Err() == nil {
		w.t.Errorf("%s: %s took %v", p.Name(), path, took)
	}
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// AwaitReady waits until all replicas of the named programs are ready or, if the parameter
// ready is false, until no replica is ready. It returns how long that took. If it takes
// longer than the parameter within, the test fails.
func (c *System) AwaitReady(ready bool, within time.Duration, names ...string) time.Duration {
	c.t.Helper()
	w := c.health
	began := time.Now()
	limit := time.NewTimer(within)
	defer limit.Stop()
	for {
		w.mu.Lock()
		late := ""
		for _, name := range names {
			for _, p := range c.Processes(name) {
				if w.ready[p.Name()] != ready {
					late = p.Name()
				}
			}
		}
		changed := w.changed
		w.mu.Unlock()
		if late == "" {
			return time.Since(began)
		}
		select {
		case <-changed:
		case <-limit.C:
			w.t.Errorf("after %v %s does not say that it is ready: %v", within, late, ready)
			return within
		}
	}
}
