package target

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"sori.internal/infra/internal/client"
)

// Completions subscribes to the live updates of jobs and notes when each job has ended. The tracker publishes them after its
// commit. It costs the measured system nothing, unlike a progress stream for each job.
type Completions struct {
	sub *nats.Subscription

	mu      sync.Mutex
	ended   map[string]client.Job
	waiting map[string]*waiter // by job
}

// waiter is somebody who waits for jobs to end.
type waiter struct {
	missing map[string]struct{} // guarded by Completions.mu
	added   chan struct{}       // has room for one: something was heard
}

// Listen begins to note the ends of all jobs.
func Listen(nc *nats.Conn) (*Completions, error) {
	e := &Completions{ended: map[string]client.Job{}, waiting: map[string]*waiter{}}
	var err error
	if e.sub, err = nc.Subscribe("audio.live.*", e.receive); err == nil {
		err = e.sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("listen for completions: %w", err)
	}
	return e, nil
}

// Close stops listening.
func (e *Completions) Close() { _ = e.sub.Unsubscribe() } // the connection ends anyway

func (e *Completions) receive(msg *nats.Msg) {
	if bytes.Contains(msg.Data, []byte(`"status":"`+client.Processing+`"`)) {
		return
	}
	f := client.Job{At: time.Now()}
	if err := json.Unmarshal(msg.Data, &f); err == nil && f.Terminal() {
		e.add(f)
	}
}

func (e *Completions) add(f client.Job) {
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
	case w.added <- struct{}{}:
	default: // told and not yet noticed
	}
}

// silence is how long no job may end before the jobs are read: live updates are not repeated.
const silence = 3 * time.Second

// Wait returns how the jobs ended, in their order, when all have. The time of one whose end was missed is when it was
// read. One caller at a time waits for a job.
func (e *Completions) Wait(ctx context.Context, c *client.Client, jobs ...string) ([]client.Job, error) {
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
		case <-w.added:
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

func (e *Completions) register(jobs []string) *waiter {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &waiter{missing: map[string]struct{}{}, added: make(chan struct{}, 1)}
	for _, job := range jobs {
		if _, ended := e.ended[job]; !ended {
			w.missing[job], e.waiting[job] = struct{}{}, w
		}
	}
	return w
}

func (e *Completions) forget(w *waiter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for job := range w.missing {
		delete(e.waiting, job)
	}
}

// missing names some of the jobs that are waited for.
func (e *Completions) missing(w *waiter) []string {
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
func (e *Completions) frames(jobs []string) []client.Job {
	e.mu.Lock()
	defer e.mu.Unlock()
	found := make([]client.Job, len(jobs))
	for i, job := range jobs {
		found[i] = e.ended[job]
		delete(e.ended, job)
	}
	return found
}

// ask asks for jobs.
func (e *Completions) ask(ctx context.Context, c *client.Client, jobs []string) error {
	for _, job := range jobs {
		f, err := c.Job(ctx, job, 0)
		if err != nil {
			return err
		}
		if f.Terminal() {
			e.add(f)
		}
	}
	return nil
}
