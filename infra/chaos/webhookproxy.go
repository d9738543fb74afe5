package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sori.internal/shared/wait"
)

// webhookProxy is a proxy between the analysis server and the dispatcher. It injects network faults: it
// loses, delays, repeats and reorders callbacks. It forwards a callback to any replica of the dispatcher
// that responds.
type webhookProxy struct {
	url string // base URL for callbacks, used instead of a dispatcher's

	client *http.Client
	server *http.Server
	served chan struct{}
	next   atomic.Uint64
	work   sync.WaitGroup
	ctx    context.Context //nolint:containedctx // context of the callbacks that are forwarded after they were answered

	mu      sync.Mutex
	targets []string
	fault   action // empty: none
	rng     *rand.Rand
	held    []callback // the callbacks that wait to be forwarded in another order
	counts  map[action]int
}

// callback is a request from the analysis server.
type callback struct {
	path   string // path of the URL, with the query
	header http.Header
	body   []byte
}

// answer is the dispatcher's answer to a callback.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// The limits of the proxy, and of its faults.
const (
	maxBody        = 16 << 20
	maxDelay       = 3 * time.Second
	maxRepeats     = 4
	maxHeld        = 5
	answerPatience = 15 * time.Second // limit of the wait for a dispatcher's answer
	proxyIdle      = 10 * time.Second // time after which an idle connection is closed
)

// openWebhookProxy starts a proxy. With the same seed, and if the callbacks arrive in the same order, the same
// callbacks are lost, delayed, repeated and reordered.
func openWebhookProxy(ctx context.Context, seed uint64) (*webhookProxy, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the webhook proxy: %w", err)
	}
	c := &webhookProxy{
		url: "http://" + l.Addr().String(), ctx: context.WithoutCancel(ctx), served: make(chan struct{}),
		client: &http.Client{Timeout: answerPatience, Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: proxyIdle}},
		rng:    rand.New(rand.NewPCG(seed, 1)), counts: map[action]int{}, // the same seed gives the same faults
	}
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: answerPatience}
	go func() {
		defer close(c.served)
		_ = c.server.Serve(l) // returns after close
	}()
	return c, nil
}

// serve sets the base URLs of the dispatchers, which start after the proxy, because their settings contain its URL.
func (c *webhookProxy) serve(targets []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.targets = targets
}

// close forwards the callbacks that are delayed for reordering, and stops the proxy.
func (c *webhookProxy) close(ctx context.Context) error {
	c.inject("")
	err := c.server.Shutdown(ctx)
	<-c.served
	c.work.Wait()
	c.client.CloseIdleConnections()
	return err
}

// inject injects a fault into all callbacks from now on, in place of the previous fault; the empty fault injects none. It
// forwards the callbacks that were delayed for reordering, in a random order.
func (c *webhookProxy) inject(fault action) {
	c.mu.Lock()
	c.fault = fault
	held := c.held
	c.held = nil
	c.rng.Shuffle(len(held), func(a, b int) { held[a], held[b] = held[b], held[a] })
	c.mu.Unlock()
	for _, cb := range held {
		c.later(cb, 0)
	}
}

// faults returns the number of callbacks with a fault, by kind of fault.
func (c *webhookProxy) faults() map[action]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

// ServeHTTP implements http.Handler.
func (c *webhookProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "cut short", http.StatusBadRequest)
		return
	}
	cb := callback{path: r.URL.RequestURI(), header: r.Header.Clone(), body: body}
	switch f := c.choose(cb); f.fault {
	case drop:
		c.drop(w, r, cb, f.random)
	case delay:
		c.later(cb, time.Duration(f.random)%maxDelay)
		w.WriteHeader(http.StatusOK)
	case repeat:
		for range f.random % maxRepeats {
			c.later(cb, 0)
		}
		c.forward(w, r, cb)
	case reorder: // choose holds the callback back; it is answered as if it had been forwarded
		w.WriteHeader(http.StatusOK)
	default:
		c.forward(w, r, cb)
	}
}

// errNoDispatcher means that no dispatcher answered a callback.
var errNoDispatcher = errors.New("no dispatcher answers")

// choice is the fault of one callback, and a random number for its details.
type choice struct {
	fault  action
	random uint64
}

func (c *webhookProxy) choose(cb callback) choice {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := choice{c.fault, c.rng.Uint64() >> 1}
	if f.fault != "" {
		c.counts[f.fault]++
	}
	if f.fault == reorder {
		c.held = append(c.held, cb)
		if len(c.held) > maxHeld { // forward a random callback, so that none is held back for ever
			i := int(f.random % uint64(len(c.held)))
			first := c.held[i]
			c.held = append(c.held[:i], c.held[i+1:]...)
			c.later(first, 0)
		}
	}
	return f
}

// drop either answers a callback but does not forward it, or forwards it and breaks the connection before the answer, or
// breaks the connection without forwarding it.
func (c *webhookProxy) drop(w http.ResponseWriter, r *http.Request, cb callback, random uint64) {
	switch random % 3 {
	case 0:
		w.WriteHeader(http.StatusOK)
		return
	case 1:
		_, _ = c.send(r.Context(), cb)
	}
	panic(http.ErrAbortHandler) // makes net/http close the connection
}

// later forwards a callback after the duration in the parameter after, and ignores the answer.
func (c *webhookProxy) later(cb callback, after time.Duration) {
	c.work.Go(func() {
		_ = wait.For(c.ctx, after) // c.ctx does not end
		_, _ = c.send(c.ctx, cb)   // if no dispatcher answers, the callback is lost
	})
}

func (c *webhookProxy) forward(w http.ResponseWriter, r *http.Request, cb callback) {
	a, err := c.send(r.Context(), cb)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // an error is ignored: the sender will send the callback again
}

// send sends a callback to one dispatcher after the other, until one answers.
func (c *webhookProxy) send(ctx context.Context, cb callback) (answer, error) {
	c.mu.Lock()
	targets := c.targets
	c.mu.Unlock()
	first := c.next.Add(1)
	errs := []error{errNoDispatcher}
	for i := range targets {
		a, err := c.sendTo(ctx, targets[(first+uint64(i))%uint64(len(targets))], cb)
		if err == nil {
			return a, nil
		}
		errs = append(errs, err)
	}
	return answer{}, errors.Join(errs...)
}

func (c *webhookProxy) sendTo(ctx context.Context, target string, cb callback) (answer, error) {
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
