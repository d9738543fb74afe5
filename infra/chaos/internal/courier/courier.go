// Package courier stands between the analysis server and the dispatcher, and does to callbacks what networks do: it loses,
// delays, repeats and reorders them.
package courier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sori.internal/infra/chaos/internal/plan"
)

// Courier takes callbacks for several copies of the dispatcher, of which it asks any that answers.
type Courier struct {
	URL string // what callbacks are sent to, in place of a dispatcher's

	client *http.Client
	server *http.Server
	served chan struct{}
	next   atomic.Uint64
	work   sync.WaitGroup
	ctx    context.Context //nolint:containedctx // of what is on its way when whoever sent it is told that it arrived

	mu      sync.Mutex
	targets []string
	mood    plan.Action // empty where all is well
	rng     *rand.Rand
	held    []callback // back to be reordered
	harm    map[plan.Action]int
}

// callback is a request as it came.
type callback struct {
	path   string // with the query
	header http.Header
	body   []byte
}

// answer is what the dispatcher says.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// The bounds of what is done to a callback.
const (
	maxBody    = 16 << 20
	maxDelay   = 3 * time.Second
	maxRepeats = 4
	maxHeld    = 5
	patience   = 15 * time.Second // for a dispatcher's answer
	idle       = 10 * time.Second // then a connection is let go
)

// Open starts a courier. What it does to which callback follows from the seed, as far as callbacks come in the same order.
func Open(ctx context.Context, seed uint64) (*Courier, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a courier: %w", err)
	}
	c := &Courier{
		URL: "http://" + l.Addr().String(), ctx: context.WithoutCancel(ctx), served: make(chan struct{}),
		client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: idle}},
		rng:    rand.New(rand.NewPCG(seed, 1)), harm: map[plan.Action]int{}, // repeatable on purpose
	}
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: patience}
	go func() {
		defer close(c.served)
		_ = c.server.Serve(l) // it ends with Close
	}()

	return c, nil
}

// Serve tells the base URLs of the dispatchers, which are started when they can be told the courier's.
func (c *Courier) Serve(targets []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.targets = targets
}

// Close delivers what is held, and stops.
func (c *Courier) Close(ctx context.Context) error {
	c.Do("")
	err := c.server.Shutdown(ctx)
	<-c.served
	c.work.Wait()
	c.client.CloseIdleConnections()

	return err
}

// Do does the given action to callbacks from now on; none where it is empty.
func (c *Courier) Do(action plan.Action) {
	c.mu.Lock()
	c.mood = action
	held := c.held
	c.held = nil
	c.rng.Shuffle(len(held), func(a, b int) { held[a], held[b] = held[b], held[a] })
	c.mu.Unlock()
	for _, cb := range held {
		c.later(cb, 0)
	}
}

// Harmed tells to how many callbacks each action was done.
func (c *Courier) Harmed() map[plan.Action]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	harm := make(map[plan.Action]int, len(c.harm))
	for action, n := range c.harm {
		harm[action] = n
	}

	return harm
}

// ServeHTTP implements http.Handler.
func (c *Courier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "cut short", http.StatusBadRequest)
		return
	}
	cb := callback{path: r.URL.RequestURI(), header: r.Header.Clone(), body: body}
	switch fate := c.fate(cb); fate.action {
	case plan.Drop:
		c.drop(w, r, cb, fate.dice)
	case plan.Delay:
		c.later(cb, time.Duration(fate.dice)%maxDelay)
		w.WriteHeader(http.StatusOK)
	case plan.Repeat:
		for range fate.dice % maxRepeats {
			c.later(cb, 0)
		}
		c.pass(w, r, cb)
	case plan.Reorder: // it is held, and told to have arrived
		w.WriteHeader(http.StatusOK)
	default:
		c.pass(w, r, cb)
	}
}

// errNobody says that no dispatcher took a callback.
var errNobody = errors.New("no dispatcher answers")

// fate is what happens to one callback.
type fate struct {
	action plan.Action
	dice   uint64
}

func (c *Courier) fate(cb callback) fate {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := fate{c.mood, c.rng.Uint64() >> 1}
	if f.action != "" {
		c.harm[f.action]++
	}
	if f.action == plan.Reorder {
		c.held = append(c.held, cb)
		if len(c.held) > maxHeld { // none is held for ever: a random one goes first
			i := int(f.dice % uint64(len(c.held)))
			first := c.held[i]
			c.held = append(c.held[:i], c.held[i+1:]...)
			c.later(first, 0)
		}
	}

	return f
}

// drop loses a callback: before it arrives, with or without whoever sent it being told; or its answer.
func (c *Courier) drop(w http.ResponseWriter, r *http.Request, cb callback, dice uint64) {
	switch dice % 3 {
	case 0:
		w.WriteHeader(http.StatusOK)
		return
	case 1:
		_, _ = c.send(r.Context(), cb)
	}
	panic(http.ErrAbortHandler) // the connection breaks (package http)
}

// later delivers a callback after a while, whatever its answer.
func (c *Courier) later(cb callback, after time.Duration) {
	c.work.Go(func() {
		wait := time.NewTimer(after)
		defer wait.Stop()
		<-wait.C
		_, _ = c.send(c.ctx, cb) // lost where nobody takes it, like any other
	})
}

func (c *Courier) pass(w http.ResponseWriter, r *http.Request, cb callback) {
	a, err := c.send(r.Context(), cb)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // whoever hung up asks again
}

// send delivers a callback to the first dispatcher that answers.
func (c *Courier) send(ctx context.Context, cb callback) (answer, error) {
	c.mu.Lock()
	targets := c.targets
	c.mu.Unlock()
	first := c.next.Add(1)
	errs := []error{errNobody}
	for i := range targets {
		a, err := c.sendTo(ctx, targets[(first+uint64(i))%uint64(len(targets))], cb)
		if err == nil {
			return a, nil
		}
		errs = append(errs, err)
	}

	return answer{}, errors.Join(errs...)
}

func (c *Courier) sendTo(ctx context.Context, target string, cb callback) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target+cb.path, bytes.NewReader(cb.body))
	if err != nil {
		return answer{}, fmt.Errorf("deliver a callback: %w", err)
	}
	req.Header = cb.header.Clone()
	resp, err := c.client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("deliver a callback: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("deliver a callback: %w", err)
	}

	return answer{resp.StatusCode, resp.Header, body}, nil
}
