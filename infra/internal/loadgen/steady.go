// Package loadgen generates load: it makes recordings and runs clients that upload them and follow
// their jobs. Steady is a load without faults of its own: an upload must be accepted or properly
// put off in time, and a viewer's progress must never go back and never miss the end. Clients
// accept that anything may break, try again, and record what they were told.
package loadgen

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// The pace of the clients. Uploads come steadily and not as fast as they can.
const (
	uploaders   = 3
	uploadEvery = 400 * time.Millisecond
	watchedOf   = 4 // one of so many jobs is watched
	largeOf     = 5 // and one of so many has several chunks
)

// UploadTakes is the longest that a client may be kept waiting, in an outage too;
// generous, since the machine is shared.
const UploadTakes = 13 * time.Second

// Steady is a steady load of uploads, some of which are followed by a viewer.
type Steady struct {
	ctx      context.Context //nolint:containedctx // of the viewers, who outlast the uploads
	gateways Gateways
	fail     func(error)
	small    Recording
	large    Recording
	stop     context.CancelFunc

	uploading, watching sync.WaitGroup

	mu    sync.Mutex
	jobs  []string
	tally Tally
}

// Tally counts the uploads by their outcome.
type Tally struct {
	Accepted int
	PutOff   map[string]int // by the code of the answer
	Longest  time.Duration  // that one took
}

// StartSteady begins to upload from several clients, to each of the gateways in turn, until Stop.
// fail is called, concurrently, with what a client must never see. Everything ends with ctx, which
// is a failure of the viewers that still watch.
func StartSteady(ctx context.Context, gateways []string, fail func(error)) *Steady {
	g := &Steady{
		ctx: ctx, gateways: Dial(gateways), fail: fail, tally: Tally{PutOff: map[string]int{}},
		small: NewRecording(time.Second), large: NewRecording(25 * time.Second),
	}
	uploads, cancel := context.WithCancel(ctx)
	g.stop = cancel
	for i := range uploaders {
		g.uploading.Go(func() { g.uploadOn(uploads, i) })
	}
	return g
}

// Stop ends the uploads and returns the jobs that were accepted. It may be called again.
func (g *Steady) Stop() []string {
	g.stop()
	g.uploading.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.jobs...)
}

// AwaitViewers returns when every viewer has seen the end or has failed. The uploads must have
// been stopped.
func (g *Steady) AwaitViewers() {
	g.watching.Wait()
	g.gateways[0].Close()
}

// Accepted is how many uploads were accepted so far.
func (g *Steady) Accepted() int { return g.Tally().Accepted }

// AwaitAccepted returns when one more upload has been accepted.
func (g *Steady) AwaitAccepted() {
	tick := time.NewTicker(uploadEvery)
	defer tick.Stop()
	for before := g.Accepted(); g.Accepted() == before; {
		select {
		case <-tick.C:
		case <-g.ctx.Done():
			g.fail(fmt.Errorf("no upload is accepted: %w", g.ctx.Err()))
			return
		}
	}
}

// Tally counts the uploads so far by their outcome.
func (g *Steady) Tally() Tally {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := Tally{Accepted: len(g.jobs), Longest: g.tally.Longest, PutOff: map[string]int{}}
	for code, n := range g.tally.PutOff {
		t.PutOff[code] = n
	}
	return t
}

func (g *Steady) uploadOn(ctx context.Context, client int) {
	tick := time.NewTicker(uploadEvery)
	defer tick.Stop()
	for n := client; ; n++ {
		if job := g.uploadOnce(n); job != "" && n%watchedOf == 0 {
			g.watching.Go(func() { g.watch(job) })
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// uploadOnce returns the job of an upload that was accepted. One that was not
// must have been put off properly. An upload that was begun is finished.
func (g *Steady) uploadOnce(n int) string {
	r := g.small
	if n%largeOf == 0 {
		r = g.large
	}
	began := time.Now()
	job, code, err := g.gateways.Upload(g.ctx, n, r)
	took := time.Since(began)
	if took > UploadTakes {
		g.fail(fmt.Errorf("an upload took %v, with the job %q", took, job))
	}
	if err != nil {
		g.fail(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tally.Longest = max(g.tally.Longest, took)
	switch {
	case job != "":
		g.jobs = append(g.jobs, job)
	case err == nil:
		g.tally.PutOff[code]++
	}
	return job
}

func (g *Steady) watch(job string) {
	if err := g.gateways.Watch(g.ctx, job); err != nil {
		g.fail(fmt.Errorf("the viewer of job %s: %w", job, err))
	}
}
