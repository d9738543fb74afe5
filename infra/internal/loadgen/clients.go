package loadgen

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/shared/wait"
)

// ClientOptions are the settings of Clients.
type ClientOptions struct {
	Gateways []string // base URLs; a client that cannot reach a gateway uses the next one
	Token    int64
	Seed     uint64
	AtOnce   int // the number of clients, each with one job at a time

	// Credentials has one credential for each owner. The jobs are divided among the owners. Without any,
	// requests are not authenticated.
	Credentials []string

	// Source serves the recordings of uploads by URL. Without it, there are no uploads by URL.
	Source *Source
}

// Clients upload recordings in every way, follow or poll their jobs, cancel some, retry failed jobs, and
// erase some jobs that have ended. They expect that any request may fail, repeat requests that fail, and
// record the responses in a ledger. The methods are safe for concurrent use.
type Clients struct {
	opt    ClientOptions
	ledger *Ledger

	gateways Gateways
	s3       *client.Client // sends signed requests to S3

	mu      sync.Mutex
	cutting bool                             // whether uploads break in the middle
	open    map[*context.CancelFunc]struct{} // the cancel functions of the open streams
}

const (
	answerIn   = 15 * time.Second       // time limit for an answer of a gateway
	retryAfter = 300 * time.Millisecond // wait before the request to the next gateway
)

// NewClients returns clients, which send nothing before Run.
func NewClients(opt ClientOptions) *Clients {
	return &Clients{
		opt: opt, ledger: newLedger(),
		s3: &client.Client{HTTP: &http.Client{Timeout: answerIn, Transport: &http.Transport{MaxIdleConnsPerHost: opt.AtOnce}}},
		gateways: NewGateways(opt.Gateways,
			&http.Client{Timeout: answerIn, Transport: &http.Transport{MaxIdleConnsPerHost: opt.AtOnce}},
			&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: opt.AtOnce, ResponseHeaderTimeout: answerIn}}),
		open: map[*context.CancelFunc]struct{}{},
	}
}

// Ledger returns the record of what the clients have seen.
func (c *Clients) Ledger() *Ledger { return c.ledger }

// Run uploads recordings and follows each job until it ends. The parameter first is the number of the
// first recording, and the parameter jobs is how many there are. If ctx ends before all jobs have
// ended, Run returns an error.
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
func (c *Clients) Close() {
	c.gateways[0].Close()
	c.s3.Close()
}

// The actions of clients besides uploading. A constant of n means that one of n clients, chosen at random, does the
// action.
const (
	watchersOf  = 2  // follow the stream; the others poll
	cancelersOf = 20 // cancel their job
	erasersOf   = 20 // erase their job after it has ended, in whichever way
	intrudersOf = 4  // one of intrudersOf jobs: another owner tries to read and to change the job while it runs, and after its end
)

// script describes what the client of one job does.
type script struct {
	upload        upload
	watch, cancel bool
	erase         bool
	intrude       bool
	cancelAfter   time.Duration
	gateway       int // index of the gateway for the first request
}

func (c *Clients) script(i int) script {
	rng := rand.New(rand.NewPCG(c.opt.Seed, uint64(i)+2)) // the same seed gives the same script, so that a run can be repeated
	return script{
		upload: c.upload(i, rng), watch: rng.IntN(watchersOf) == 0, cancel: rng.IntN(cancelersOf) == 0,
		erase:       rng.IntN(erasersOf) == 0,
		cancelAfter: time.Duration(rng.Int64N(int64(2 * time.Second))), gateway: rng.IntN(len(c.opt.Gateways)),
		intrude: len(c.opt.Credentials) > 1 && rng.IntN(intrudersOf) == 0,
	}
}

// serve is the client of one job: it uploads the recording and follows the job until it ends.
func (c *Clients) serve(ctx context.Context, i int) {
	todo := c.script(i)
	s := &session{clients: c, next: todo.gateway, owner: c.owner(i), intrudes: todo.intrude}
	if !s.send(ctx, i, todo.upload) {
		return
	}
	if todo.intrude {
		s.intrude(ctx)
		defer s.intrude(ctx)
	}
	var canceling sync.WaitGroup
	defer canceling.Wait()
	if todo.cancel {
		canceling.Go(func() {
			later := &session{clients: c, next: todo.gateway, owner: s.owner, job: s.job}
			if wait.For(ctx, todo.cancelAfter) == nil {
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

// owner returns the number of the owner of the i-th job.
func (c *Clients) owner(i int) int { return i % max(1, len(c.opt.Credentials)) }

// CutBodies sets whether every upload that begins from now on breaks in the middle.
func (c *Clients) CutBodies(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutting = on
}

// CutStreams breaks all open streams, as a lost network connection does.
func (c *Clients) CutStreams() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cancel := range c.open {
		(*cancel)()
		c.ledger.count(CutStream)
	}
}

// cutsBodies reports whether an upload that begins now must break. If so, it counts the upload in the ledger.
func (c *Clients) cutsBodies() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cutting {
		c.ledger.count(CutBody)
	}
	return c.cutting
}

// stream returns a context for a stream, which CutStreams cancels. The returned function unregisters the stream.
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
