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

// The bounds of health's answers. They are generous: the machine is shared.
const (
	askEvery  = 200 * time.Millisecond
	answersIn = 5 * time.Second // either route, whatever is away

	NoticesIn = 8 * time.Second  // that a dependency is away
	ReturnsIn = 20 * time.Second // once it is there again
)

// healthWatch asks every service for its health all the time.
type healthWatch struct {
	t      *testing.T
	client *http.Client

	mu      sync.Mutex
	ready   map[string]bool // by process
	changed chan struct{}   // closed with every answer

	end func() // may be called again
}

// watchHealth begins to ask, until the test's end at the latest. The test fails where a process
// ever says that it does not live, or takes too long to answer.
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

// get returns the status of an answer; 0 where there is none.
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

// AwaitReady waits until the copies of the named programs are ready, or are not,
// and returns how long that took.
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
