package loadgen

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"sori.internal/infra/internal/client"
)

// ClientOptions say what clients do.
type ClientOptions struct {
	Gateways []string // base URLs; a client that finds one away asks the next
	Token    int64
	Seed     uint64
	AtOnce   int // clients, each with one job at a time
}

// Clients upload, follow their jobs or poll, cancel, retry failed jobs, and erase jobs that have
// ended. They expect that anything may break, try again when it does, and record in a ledger what
// they were told. The methods are safe for concurrent use.
type Clients struct {
	opt    ClientOptions
	ledger *Ledger

	gateways     Gateways
	small, large Recording

	mu      sync.Mutex
	cutting bool                             // uploads break in the middle
	open    map[*context.CancelFunc]struct{} // streams
}

const (
	answerIn   = 15 * time.Second       // after which a client considers a gateway away
	retryAfter = 300 * time.Millisecond // until it asks the next one
)

// NewClients prepares clients.
func NewClients(opt ClientOptions) *Clients {
	return &Clients{
		opt: opt, ledger: newLedger(), small: NewRecording(300 * time.Millisecond), large: NewRecording(20 * time.Second),
		gateways: NewGateways(opt.Gateways,
			&http.Client{Timeout: answerIn, Transport: &http.Transport{MaxIdleConnsPerHost: opt.AtOnce}},
			&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: opt.AtOnce, ResponseHeaderTimeout: answerIn}}),
		open: map[*context.CancelFunc]struct{}{},
	}
}

// Ledger is what the clients have seen.
func (c *Clients) Ledger() *Ledger { return c.ledger }

// Run uploads so many recordings, numbered from first on, and sees each job to its end. If ctx ends
// before, some jobs are not seen to their ends.
func (c *Clients) Run(ctx context.Context, first, jobs int) error {
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

// Close closes idle connections.
func (c *Clients) Close() { c.gateways[0].Close() }

// What clients do besides uploading: one of so many.
const (
	watchersOf  = 2  // the others poll
	cancelersOf = 20 // cancel their job
	uploadLarge = 10 // send several chunks
	erasersOf   = 20 // erase their job, whatever its end
)

// script is what the client of one job does.
type script struct {
	large, watch, cancel bool
	erase                bool
	cancelAfter          time.Duration
	gateway              int // the first to ask
}

func (c *Clients) script(i int) script {
	rng := rand.New(rand.NewPCG(c.opt.Seed, uint64(i)+2)) // repeatable on purpose
	return script{
		large: rng.IntN(uploadLarge) == 0, watch: rng.IntN(watchersOf) == 0, cancel: rng.IntN(cancelersOf) == 0,
		erase:       rng.IntN(erasersOf) == 0,
		cancelAfter: time.Duration(rng.Int64N(int64(2 * time.Second))), gateway: rng.IntN(len(c.opt.Gateways)),
	}
}

// serve takes one job from its upload to its end.
func (c *Clients) serve(ctx context.Context, i int) {
	todo := c.script(i)
	s := &session{clients: c, next: todo.gateway}
	if !s.upload(ctx, i, todo.large) {
		return
	}
	var canceling sync.WaitGroup
	defer canceling.Wait()
	if todo.cancel {
		canceling.Go(func() {
			later := &session{clients: c, next: todo.gateway, job: s.job}
			if pause(ctx, todo.cancelAfter) {
				later.control(ctx, "cancel")
			}
		})
	}
	for s.await(ctx, todo.watch) && s.last.Status == client.Failed {
		if !s.control(ctx, "retry") {
			return
		}
	}
	if todo.erase && ctx.Err() == nil {
		s.erase(ctx)
	}
}

// CutBodies makes every upload that begins from now on break in the middle, or not.
func (c *Clients) CutBodies(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutting = on
}

// CutStreams breaks all open streams, as a network does that goes away.
func (c *Clients) CutStreams() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cancel := range c.open {
		(*cancel)()
		c.ledger.count(CutStream)
	}
}

// cutsBodies reports whether an upload that begins now is to break, and counts it.
func (c *Clients) cutsBodies() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cutting {
		c.ledger.count(CutBody)
	}
	return c.cutting
}

// stream registers a stream until the returned function is called.
func (c *Clients) stream(ctx context.Context) (context.Context, func()) {
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
