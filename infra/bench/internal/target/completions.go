package target

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"sori.internal/infra/internal/client"
)

// Completions subscribes to the live updates of jobs, which the tracker publishes after each commit, and records when each job
// has ended. Unlike a progress stream for each job, it costs the measured system almost nothing.
type Completions struct {
	sub *nats.Subscription

	mu   sync.Mutex
	jobs map[string]*completion // the jobs that have ended or for which Wait is waiting
}

// completion is the end of a job.
type completion struct {
	once  sync.Once
	ended chan struct{} // closed when job is set
	job   client.Job
}

func newCompletions() *Completions { return &Completions{jobs: map[string]*completion{}} }

// Listen starts to record the ends of all jobs.
func Listen(nc *nats.Conn) (*Completions, error) {
	c := newCompletions()
	var err error
	if c.sub, err = nc.Subscribe("audio.live.*", c.receive); err == nil {
		err = c.sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("listen for completions: %w", err)
	}
	return c, nil
}

func (c *Completions) receive(msg *nats.Msg) {
	if bytes.Contains(msg.Data, []byte(`"status":"`+client.Processing+`"`)) {
		return
	}
	job := client.Job{At: time.Now()}
	if err := json.Unmarshal(msg.Data, &job); err == nil && job.Terminal() {
		c.add(job)
	}
}

// completionOf returns the completion of a job. The job may not have ended yet.
func (c *Completions) completionOf(job string) *completion {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jobs[job] == nil {
		c.jobs[job] = &completion{ended: make(chan struct{})}
	}
	return c.jobs[job]
}

// add records the end of a job, unless it is recorded already.
func (c *Completions) add(job client.Job) {
	done := c.completionOf(job.JobID)
	done.once.Do(func() {
		done.job = job
		close(done.ended)
	})
}

// silence is how long Wait waits for the live update of a job's end before it reads the job instead: updates may get lost.
const silence = 3 * time.Second

// readers is the largest number of jobs that one call of Wait waits for, and so reads, concurrently.
const readers = 64

// Wait waits until all jobs have ended, and returns them in the order of the arguments. If the live update of a job was lost,
// Wait reads the job, and client.Job.At is the time of that read. Only one caller at a time may wait for a job. Wait deletes
// the records of the jobs, so that the memory does not grow in a long measurement.
func (c *Completions) Wait(ctx context.Context, api *client.Client, jobs ...string) ([]client.Job, error) {
	found := make([]client.Job, len(jobs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, job := range jobs {
		group.Go(func() (err error) {
			found[i], err = c.wait(ctx, api, job)
			return err
		})
	}
	return found, group.Wait()
}

func (c *Completions) wait(ctx context.Context, api *client.Client, job string) (client.Job, error) {
	done := c.completionOf(job)
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.jobs, job)
	}()
	tick := time.NewTicker(silence)
	defer tick.Stop()
	for {
		select {
		case <-done.ended:
			return done.job, nil
		case <-tick.C:
			read, err := api.Job(ctx, job, 0)
			if err != nil {
				return client.Job{}, err
			}
			if read.Terminal() {
				c.add(read)
			}
		case <-ctx.Done():
			return client.Job{}, fmt.Errorf("wait for job %s: %w", job, context.Cause(ctx))
		}
	}
}
