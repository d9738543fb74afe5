package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Endings hears when jobs end, for everybody who can read the result from then on: the tracker tells it on the bus after its
// commit. It costs the measured system nothing, unlike a progress stream per job.
type Endings struct {
	sub *nats.Subscription

	mu      sync.Mutex
	ended   map[string]Frame
	waiting map[string]*waiter // by job
}

// waiter is somebody who waits for jobs to end.
type waiter struct {
	missing map[string]struct{} // guarded by Endings.mu
	heard   chan struct{}       // has room for one: something was heard
}

// Listen begins to hear the endings of all jobs.
func Listen(nc *nats.Conn) (*Endings, error) {
	e := &Endings{ended: map[string]Frame{}, waiting: map[string]*waiter{}}
	var err error
	if e.sub, err = nc.Subscribe("audio.live.*", e.hear); err == nil {
		err = e.sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("listen for endings: %w", err)
	}

	return e, nil
}

// Close stops listening.
func (e *Endings) Close() { _ = e.sub.Unsubscribe() } // the connection ends anyway

func (e *Endings) hear(msg *nats.Msg) {
	if bytes.Contains(msg.Data, []byte(`"status":"`+processing+`"`)) {
		return
	}
	f := Frame{At: time.Now()}
	if err := json.Unmarshal(msg.Data, &f); err == nil && f.Ended() {
		e.add(f)
	}
}

func (e *Endings) add(f Frame) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.ended[f.JobID]; known {
		return
	}
	e.ended[f.JobID] = f
	w := e.waiting[f.JobID]
	if w == nil {
		return
	}
	delete(e.waiting, f.JobID)
	delete(w.missing, f.JobID)
	select {
	case w.heard <- struct{}{}:
	default: // told and not yet noticed
	}
}

// silence is how long nothing may be heard before the jobs are asked for: what is heard is not repeated.
const silence = 3 * time.Second

// Wait returns how the jobs ended, in their order, when all have. The time of one whose ending was not heard is when it was
// asked for. One caller at a time waits for a job.
func (e *Endings) Wait(ctx context.Context, c *Client, jobs ...string) ([]Frame, error) {
	w := e.register(jobs)
	defer e.forget(w)
	timer := time.NewTimer(silence)
	defer timer.Stop()
	for {
		missing := e.missing(w)
		if len(missing) == 0 {
			return e.frames(jobs), nil
		}
		select {
		case <-w.heard:
		case <-timer.C:
			if err := e.ask(ctx, c, missing); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for jobs, %s among them: %w", missing[0], context.Cause(ctx))
		}
		timer.Reset(silence)
	}
}

func (e *Endings) register(jobs []string) *waiter {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &waiter{missing: map[string]struct{}{}, heard: make(chan struct{}, 1)}
	for _, job := range jobs {
		if _, ended := e.ended[job]; !ended {
			w.missing[job], e.waiting[job] = struct{}{}, w
		}
	}

	return w
}

func (e *Endings) forget(w *waiter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for job := range w.missing {
		delete(e.waiting, job)
	}
}

// missing names some of the jobs that are waited for.
func (e *Endings) missing(w *waiter) []string {
	const some = 64
	e.mu.Lock()
	defer e.mu.Unlock()
	names := make([]string, 0, min(len(w.missing), some))
	for job := range w.missing {
		if len(names) == some {
			break
		}
		names = append(names, job)
	}

	return names
}

// frames are how the jobs ended. They are forgotten, so that a long measurement does not grow by them.
func (e *Endings) frames(jobs []string) []Frame {
	e.mu.Lock()
	defer e.mu.Unlock()
	found := make([]Frame, len(jobs))
	for i, job := range jobs {
		found[i] = e.ended[job]
		delete(e.ended, job)
	}

	return found
}

// ask asks for jobs.
func (e *Endings) ask(ctx context.Context, c *Client, jobs []string) error {
	for _, job := range jobs {
		status, err := c.Status(ctx, job)
		if err != nil {
			return err
		}
		if f := (Frame{JobID: job, Status: status, At: time.Now()}); f.Ended() {
			e.add(f)
		}
	}

	return nil
}
