// Package customer is who uses Sori while it is tried: clients that upload, watch over a stream or ask again and again, cancel,
// have failed analyses tried again, and erase what they have seen. They accept that anything may break, come back when it does, and keep a ledger of all
// that they were told and of all that they should not have been told.
package customer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Options say who comes.
type Options struct {
	Gateways []string // base URLs; whoever finds one away asks the next
	Token    int64
	Seed     uint64
	AtOnce   int // customers, each with one job at a time
}

// Crowd is all customers. Its methods are safe for concurrent use.
type Crowd struct {
	opt    Options
	ledger *Ledger

	uploads, streams *http.Client
	small, large     form

	mu      sync.Mutex
	cutting bool                             // uploads end in the middle
	open    map[*context.CancelFunc]struct{} // streams
}

// The patience of a customer.
const (
	answerIn = 15 * time.Second       // then it takes a gateway for away
	comeBack = 300 * time.Millisecond // until it asks the next one
)

// Gather prepares a crowd.
func Gather(opt Options) *Crowd {
	return &Crowd{
		opt: opt, ledger: newLedger(), small: newForm(300 * time.Millisecond), large: newForm(20 * time.Second),
		uploads: &http.Client{Timeout: answerIn, Transport: &http.Transport{MaxIdleConnsPerHost: opt.AtOnce}},
		streams: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: opt.AtOnce, ResponseHeaderTimeout: answerIn}},
		open:    map[*context.CancelFunc]struct{}{},
	}
}

// Ledger is what the crowd has seen.
func (c *Crowd) Ledger() *Ledger { return c.ledger }

// Run brings so many jobs, numbered from first on, to their ends, as far as customers can tell; the end of ctx leaves some
// without.
func (c *Crowd) Run(ctx context.Context, first, jobs int) error {
	turns := make(chan int, jobs)
	for i := range jobs {
		turns <- first + i
	}
	close(turns)
	var all sync.WaitGroup
	for range c.opt.AtOnce {
		all.Go(func() {
			for i := range turns {
				if ctx.Err() != nil {
					return
				}
				c.serve(ctx, i)
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%d jobs were seen to their ends: %w", c.ledger.Ended(), context.Cause(ctx))
	}

	return nil
}

// Leave lets go of the connections that nobody uses.
func (c *Crowd) Leave() {
	c.uploads.CloseIdleConnections()
	c.streams.CloseIdleConnections()
}

// What customers do beside uploading, of so many one.
const (
	watchersOf  = 2  // the others ask again and again
	cancelersOf = 20 // change their minds
	largeOf     = 10 // send several chunks
	erasersOf   = 20 // want nothing kept, whatever the end
)

// whims is what one customer is going to do.
type whims struct {
	large, watch, cancel bool
	erase                bool
	cancelAfter          time.Duration
	gateway              int // the first to ask
}

func (c *Crowd) whims(i int) whims {
	rng := rand.New(rand.NewPCG(c.opt.Seed, uint64(i)+2)) // repeatable on purpose
	return whims{
		large: rng.IntN(largeOf) == 0, watch: rng.IntN(watchersOf) == 0, cancel: rng.IntN(cancelersOf) == 0,
		erase:       rng.IntN(erasersOf) == 0,
		cancelAfter: time.Duration(rng.Int64N(int64(2 * time.Second))), gateway: rng.IntN(len(c.opt.Gateways)),
	}
}

// serve takes one job from its upload to its end.
func (c *Crowd) serve(ctx context.Context, i int) {
	will := c.whims(i)
	v := &visit{crowd: c, next: will.gateway}
	if !v.upload(ctx, i, will.large) {
		return
	}
	var canceling sync.WaitGroup
	defer canceling.Wait()
	if will.cancel {
		canceling.Go(func() {
			later := &visit{crowd: c, next: will.gateway, job: v.job}
			if pause(ctx, will.cancelAfter) {
				later.act(ctx, "cancel")
			}
		})
	}
	for v.await(ctx, will.watch) && v.last.Status == failed {
		if !v.act(ctx, "retry") {
			return
		}
	}
	if will.erase && ctx.Err() == nil {
		v.erase(ctx)
	}
}

// pause waits, and reports whether it was not cut short.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// CutBodies lets every upload that is begun from now on end in the middle, or not.
func (c *Crowd) CutBodies(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutting = on
}

// CutStreams ends all streams that are open, as a network does that goes away.
func (c *Crowd) CutStreams() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cancel := range c.open {
		(*cancel)()
		c.ledger.count(CutStream)
	}
}

// cutsBodies reports whether an upload that begins now is to be cut, and counts it.
func (c *Crowd) cutsBodies() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cutting {
		c.ledger.count(CutBody)
	}

	return c.cutting
}

// stream registers a stream until the returned function is called.
func (c *Crowd) stream(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[&cancel] = struct{}{}

	return ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, &cancel)
		cancel()
	}
}
