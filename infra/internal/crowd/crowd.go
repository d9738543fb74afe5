// Package crowd is clients of Sori that upload and watch while it suffers, and
// that hold it to what it promises them: an upload is accepted or properly put
// off, in time; a viewer's progress never goes back and never misses the end.
package crowd

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
	watchedOf   = 4 // of so many jobs one is watched
	largeOf     = 5 // and one is of several chunks
)

// UploadTakes is the longest that a client may be kept waiting, in an outage too;
// generous, since the machine is shared.
const UploadTakes = 13 * time.Second

// Crowd is clients that upload and watch.
type Crowd struct {
	ctx      context.Context //nolint:containedctx // of the viewers, who outlast the uploads
	client   *Client
	complain func(error)
	small    Recording
	large    Recording
	stop     context.CancelFunc

	uploading, watching sync.WaitGroup

	mu    sync.Mutex
	jobs  []string
	tally Tally
}

// Tally is what became of the uploads.
type Tally struct {
	Accepted int
	PutOff   map[string]int // by the code that was told
	Longest  time.Duration  // that one took
}

// Gather begins to upload from several clients, by turns to each of the gateways,
// until Disperse. What a client may not see is told to complain, which several call
// at once. All ends with ctx, which is a complaint of whoever still watches.
func Gather(ctx context.Context, gateways []string, complain func(error)) *Crowd {
	g := &Crowd{
		ctx: ctx, client: NewClient(gateways), complain: complain, tally: Tally{PutOff: map[string]int{}},
		small: NewRecording(time.Second), large: NewRecording(25 * time.Second),
	}
	uploads, cancel := context.WithCancel(ctx)
	g.stop = cancel
	for i := range uploaders {
		g.uploading.Go(func() { g.uploadOn(uploads, i) })
	}
	return g
}

// Disperse ends the uploads and returns the jobs that were accepted. It may be
// called again.
func (g *Crowd) Disperse() []string {
	g.stop()
	g.uploading.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.jobs...)
}

// AwaitViewers returns when all who watch have seen the end, or have complained.
// The crowd must have dispersed.
func (g *Crowd) AwaitViewers() {
	g.watching.Wait()
	g.client.http.CloseIdleConnections()
}

// Accepted is how many uploads were accepted so far.
func (g *Crowd) Accepted() int { return g.Tally().Accepted }

// AwaitAccepted returns when one more upload has been accepted.
func (g *Crowd) AwaitAccepted() {
	tick := time.NewTicker(uploadEvery)
	defer tick.Stop()
	for before := g.Accepted(); g.Accepted() == before; {
		select {
		case <-tick.C:
		case <-g.ctx.Done():
			g.complain(fmt.Errorf("no upload is accepted: %w", g.ctx.Err()))
			return
		}
	}
}

// Tally is what became of the uploads so far.
func (g *Crowd) Tally() Tally {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := Tally{Accepted: len(g.jobs), Longest: g.tally.Longest, PutOff: map[string]int{}}
	for code, n := range g.tally.PutOff {
		t.PutOff[code] = n
	}
	return t
}

func (g *Crowd) uploadOn(ctx context.Context, client int) {
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
func (g *Crowd) uploadOnce(n int) string {
	r := g.small
	if n%largeOf == 0 {
		r = g.large
	}
	began := time.Now()
	job, code, err := g.client.Upload(g.ctx, n, r)
	took := time.Since(began)
	if took > UploadTakes {
		g.complain(fmt.Errorf("an upload took %v, with the job %q", took, job))
	}
	if err != nil {
		g.complain(err)
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

func (g *Crowd) watch(job string) {
	if err := g.client.Watch(g.ctx, job); err != nil {
		g.complain(fmt.Errorf("the viewer of job %s: %w", job, err))
	}
}
