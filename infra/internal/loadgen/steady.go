// Package loadgen generates load: recordings, and clients that upload them and follow their jobs.
//
// Steady and Clients differ in what they demand. With Steady, every upload must be accepted in time, or
// be refused with a 503 that has a code and a Retry-After header; the viewer of a job must see progress
// that never decreases, and the end of the job. With Clients, any request may fail: they repeat it, and
// record the responses in a Ledger.
package loadgen

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sori.internal/shared/wait"
)

// The rate of the load. Each client begins an upload at a fixed interval and not as fast as it can.
const (
	uploaders   = 3
	uploadEvery = 400 * time.Millisecond
	watchedOf   = 4 // one of watchedOf accepted jobs has a viewer
	largeOf     = 5 // one of largeOf recordings has several chunks
)

// UploadTakes is the limit for the duration of an upload, even if a dependency is
// unavailable. It is generous, because other tests run on the machine at the same time.
const UploadTakes = 13 * time.Second

// Steady is a load of uploads at a constant rate. Some of the jobs have a viewer.
type Steady struct {
	ctx      context.Context //nolint:containedctx // context of the viewers, which run longer than the uploads
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
	Refused  map[string]int // uploads that got a 503 with a code and a Retry-After header, by the code
	Longest  time.Duration  // the longest duration of an upload
}

// StartSteady starts several clients, which upload to the gateways in turn until Stop. It calls fail,
// concurrently, with an error for each expectation that is violated. All clients and viewers end when
// ctx ends; for a viewer that has not seen the end of its job this is a failure.
func StartSteady(ctx context.Context, gateways []string, fail func(error)) *Steady {
	g := &Steady{
		ctx: ctx, gateways: Dial(gateways), fail: fail, tally: Tally{Refused: map[string]int{}},
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

// AwaitViewers returns when every viewer has seen the end of its job or has failed. Stop must have
// been called before.
func (g *Steady) AwaitViewers() {
	g.watching.Wait()
	g.gateways[0].Close()
}

// Accepted returns the number of uploads that have been accepted so far.
func (g *Steady) Accepted() int { return g.Tally().Accepted }

// AwaitAccepted returns when one more upload has been accepted.
func (g *Steady) AwaitAccepted() {
	for before := g.Accepted(); g.Accepted() == before; {
		if err := wait.For(g.ctx, uploadEvery); err != nil {
			g.fail(fmt.Errorf("no upload is accepted: %w", err))
			return
		}
	}
}

// Tally returns the number of uploads so far by their outcome.
func (g *Steady) Tally() Tally {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := Tally{Accepted: len(g.jobs), Longest: g.tally.Longest, Refused: map[string]int{}}
	for code, n := range g.tally.Refused {
		t.Refused[code] = n
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

// uploadOnce sends one upload, and returns the job if it was accepted, else "". A refusal
// other than a proper 503 is a failure. Stop does not interrupt an upload.
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
		g.tally.Refused[code]++
	}
	return job
}

func (g *Steady) watch(job string) {
	if err := g.gateways.Watch(g.ctx, job); err != nil {
		g.fail(fmt.Errorf("the viewer of job %s: %w", job, err))
	}
}
