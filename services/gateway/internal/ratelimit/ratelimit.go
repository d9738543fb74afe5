// Package ratelimit limits what one client may do: how many requests a second, and how many things
// at once. A client is a text, for example an address or the owner of a credential.
//
// The limits count in this process. With n replicas of the gateway a client can do up to n times as
// much. A process that dies takes its counts with it, so no client stays limited.
package ratelimit

import (
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sori.internal/shared/fault"
)

// maxClients limits the clients whose rates are remembered, and so the memory.
const maxClients = 1 << 16

// Rate limits the requests of each client. A nil Rate limits nothing. It is safe for concurrent use.
type Rate struct {
	name, what string
	limit      rate.Limit
	quota      int
	window     time.Duration

	mu      sync.Mutex
	clients map[string]*rate.Limiter
	swept   time.Time
}

// NewRate makes a limit: a client may send quota requests at once, and as many in each window. It
// returns nil if the quota is 0. The name appears in RateLimit-Policy, and what is limited in the
// failure.
func NewRate(name, what string, quota int, window time.Duration) *Rate {
	if quota == 0 {
		return nil
	}
	return &Rate{
		name: name, what: what, limit: rate.Limit(float64(quota) / window.Seconds()), quota: quota, window: window,
		clients: map[string]*rate.Limiter{},
	}
}

// State is the state of a limit after a request of a client.
type State struct {
	rate      *Rate
	remaining float64 // requests that the client may send at once; negative if it must wait
}

// Take counts a request of a client. It fails with fault.RateLimited if the client has sent too many.
func (r *Rate) Take(client string, now time.Time) (State, error) {
	bucket := r.bucket(client, now)
	allowed := bucket.AllowN(now, 1)
	s := State{rate: r, remaining: bucket.TokensAt(now)}
	if allowed {
		return s, nil
	}
	return s, Exceeded(r.what, s.until(1))
}

// until returns how long the client must wait until it may send n requests at once.
func (s State) until(n int) time.Duration {
	return time.Duration(max(0, float64(n)-s.remaining) / float64(s.rate.limit) * float64(time.Second))
}

// Policy returns the item of the header RateLimit-Policy, and Limit that of RateLimit
// (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4).
func (s State) Policy() string {
	return fmt.Sprintf(`"%s";q=%d;w=%d`, s.rate.name, s.rate.quota, int(s.rate.window.Seconds()))
}

// Limit returns the item of the header RateLimit; see Policy.
func (s State) Limit() string {
	return fmt.Sprintf(`"%s";r=%d;t=%d`, s.rate.name, int(max(0, s.remaining)), int(math.Ceil(s.until(s.rate.quota).Seconds())))
}

// bucket returns the token bucket of a client.
func (r *Rate) bucket(client string, now time.Time) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, known := r.clients[client]
	if known {
		return b
	}
	if len(r.clients) >= maxClients {
		r.forget(now)
	}
	b = rate.NewLimiter(r.limit, r.quota)
	r.clients[client] = b
	return b
}

// forget makes room. A client whose bucket is full needs none: a new bucket is full too. This is
// looked for at most once a second, since it reads all buckets. If there is none, any client is
// forgotten, and may send its burst again.
func (r *Rate) forget(now time.Time) {
	if now.Sub(r.swept) >= time.Second {
		r.swept = now
		for client, b := range r.clients {
			if b.TokensAt(now) >= float64(r.quota) {
				delete(r.clients, client)
			}
		}
	}
	for client := range r.clients {
		if len(r.clients) < maxClients {
			return
		}
		delete(r.clients, client)
	}
}

// Concurrency limits what each client does at once. A nil Concurrency limits nothing. It is safe for
// concurrent use.
type Concurrency struct {
	what string
	max  int

	mu      sync.Mutex
	clients map[string]int
}

// NewConcurrency makes a limit; nil if it is 0. The failure says what is limited.
func NewConcurrency(what string, limit int) *Concurrency {
	if limit == 0 {
		return nil
	}
	return &Concurrency{what: what, max: limit, clients: map[string]int{}}
}

// busyRetryAfter is the Retry-After of a client that does too much at once.
const busyRetryAfter = 2 * time.Second

// Acquire counts one more for a client. It fails with fault.RateLimited if the client has too many
// already. release must be called once it is done, and may be called again.
func (c *Concurrency) Acquire(client string) (release func(), err error) {
	if c == nil || client == "" {
		return func() {}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[client] >= c.max {
		return nil, Exceeded(c.what, busyRetryAfter)
	}
	c.clients[client]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.clients[client]--; c.clients[client] == 0 {
			delete(c.clients, client)
		}
	}), nil
}

// Exceeded returns the failure of a client that exceeds a limit.
func Exceeded(what string, wait time.Duration) error {
	return &fault.Error{
		Kind: fault.RateLimited, Code: "rate-limited", RetryAfter: max(wait, time.Millisecond),
		Extra:  map[string]any{"limit": what},
		Detail: "This client exceeds the limit of " + what + ". Please try again later.",
	}
}
