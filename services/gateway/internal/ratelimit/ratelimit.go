// Package ratelimit limits each client: the rate of its requests, and the number of its concurrent
// operations. A client is a text, for example an address or the owner of a credential.
//
// The limits apply over all replicas of the gateway. The replicas publish the usage of their
// clients up to ten times a second (Exchange), and each replica admits requests by the usage that
// it knows. No request waits for another replica, and nothing is stored. Therefore the limits are
// approximate. With n replicas:
//
//  1. Until the replicas know of each other's requests, a client may use its whole limit at each of
//     them: up to n bursts of requests, and n times as many concurrent operations.
//  2. Requests beyond the limit are a debt: every replica refuses further requests of the client
//     until its rate has made up for them. Over a longer time, a client gets no more than its rate
//     and n bursts.
//  3. Concurrent operations beyond the limit continue. The client may begin another one when its
//     number over all replicas is below the limit.
//  4. A replica that starts does not know of earlier requests. Within about a second it learns how
//     many operations each client has running.
//  5. The usage of a replica that stops is forgotten at once, and that of a replica that is killed
//     after about five seconds.
//  6. While NATS is unavailable, each replica applies the limits to its own requests only.
package ratelimit

import (
	"fmt"
	"maps"
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
	secret     *secret

	mu      sync.Mutex
	clients map[key]*rate.Limiter
	taken   map[key]int // requests that the other replicas do not know of
	swept   time.Time
}

// NewRate adds a limit: a client may send quota requests at once, and as many in each window. It
// returns nil if quota is 0. The parameter name is the name of the limit in RateLimit-Policy. The
// parameter what says in a failure which requests are limited.
func (s *Set) NewRate(name, what string, quota int, window time.Duration) *Rate {
	if quota == 0 {
		return nil
	}
	r := &Rate{
		name: name, what: what, limit: rate.Limit(float64(quota) / window.Seconds()), quota: quota, window: window,
		secret: &s.secret, clients: map[key]*rate.Limiter{}, taken: map[key]int{},
	}
	s.rates[name] = r
	return r
}

// State is the state of a limit after a request of a client.
type State struct {
	rate      *Rate
	remaining float64 // requests that the client may send at once; negative if it must wait
}

// Take counts a request of a client. It fails with fault.RateLimited if the client has sent too many.
func (r *Rate) Take(client string, now time.Time) (State, error) {
	s, allowed := r.take(r.secret.key(client), now)
	if !allowed {
		return s, Exceeded(r.what, s.delay(1))
	}
	return s, nil
}

func (r *Rate) take(client key, now time.Time) (s State, allowed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	bucket := r.bucket(client, now)
	allowed = bucket.AllowN(now, 1)
	if allowed && len(r.taken) < maxClients {
		r.taken[client]++
	}
	return State{rate: r, remaining: bucket.TokensAt(now)}, allowed
}

// unpublished returns the number of requests of each client since the last call.
func (r *Rate) unpublished() map[key]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.taken) == 0 {
		return nil
	}
	taken := r.taken
	r.taken = map[key]int{}
	return taken
}

// subtract takes the requests of clients at another replica from the buckets. n is the number of
// the other replicas. Each of them may have granted a whole burst before it knew of the others, so
// a bucket may become negative by n bursts.
func (r *Rate) subtract(taken map[key]int, n int, now time.Time) {
	for client, count := range taken {
		r.mu.Lock()
		bucket := r.bucket(client, now)
		most := int(bucket.TokensAt(now)) + n*r.quota
		if count = min(count, r.quota, most); count > 0 {
			bucket.ReserveN(now, count)
		}
		r.mu.Unlock()
	}
}

// delay returns how long the client must wait until it may send n requests at once.
func (s State) delay(n int) time.Duration {
	return time.Duration(max(0, float64(n)-s.remaining) / float64(s.rate.limit) * float64(time.Second))
}

// Policy returns the item of the header RateLimit-Policy, and Limit that of RateLimit
// (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4).
func (s State) Policy() string {
	return fmt.Sprintf(`"%s";q=%d;w=%d`, s.rate.name, s.rate.quota, int(s.rate.window.Seconds()))
}

// Limit returns the item of the header RateLimit; see Policy.
func (s State) Limit() string {
	return fmt.Sprintf(`"%s";r=%d;t=%d`, s.rate.name, int(max(0, s.remaining)), int(math.Ceil(s.delay(s.rate.quota).Seconds())))
}

// bucket returns the token bucket of a client. The caller must hold the lock.
func (r *Rate) bucket(client key, now time.Time) *rate.Limiter {
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

// forget makes room for a bucket. It removes full buckets, which lose nothing: a new bucket is full
// too. It searches for full buckets at most once a second, since the search reads all buckets. If
// it finds none, it removes any bucket, whose client may then send its burst again.
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

// Concurrency limits the number of concurrent operations of each client. A nil Concurrency limits
// nothing. It is safe for concurrent use.
type Concurrency struct {
	what   string
	max    int
	secret *secret

	mu       sync.Mutex
	held     map[key]int            // number of concurrent operations of each client at this replica
	changed  map[key]struct{}       // clients whose count has changed since the last message
	reported map[string]map[key]int // number of concurrent operations of each client at each other replica, by replica
	others   map[key]int            // the sums of reported
}

// NewConcurrency adds a limit of concurrent operations. It returns nil if limit is 0. The parameter
// what is the name of the operations in the failure.
func (s *Set) NewConcurrency(what string, limit int) *Concurrency {
	if limit == 0 {
		return nil
	}
	c := &Concurrency{
		what: what, max: limit, secret: &s.secret,
		held: map[key]int{}, changed: map[key]struct{}{}, reported: map[string]map[key]int{}, others: map[key]int{},
	}
	s.concurrencies[what] = c
	return c
}

// busyRetryAfter is the Retry-After of a client with too many concurrent operations.
const busyRetryAfter = 2 * time.Second

// Acquire counts a further operation of a client. It fails with fault.RateLimited if the client has
// reached the limit. The caller must call release when the operation ends; further calls of release
// do nothing.
func (c *Concurrency) Acquire(client string) (release func(), err error) {
	if c == nil || client == "" {
		return func() {}, nil
	}
	id := c.secret.key(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[id]+c.others[id] >= c.max {
		return nil, Exceeded(c.what, busyRetryAfter)
	}
	c.add(id, 1)
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.add(id, -1)
	}), nil
}

// add changes the number of operations of a client at this replica. The caller must hold the lock.
func (c *Concurrency) add(client key, n int) {
	set(c.held, client, c.held[client]+n)
	if len(c.changed) < maxClients {
		c.changed[client] = struct{}{}
	}
}

// unpublished returns the number of operations of clients at this replica: of all clients if all is
// true, otherwise of those whose number has changed since the last call.
func (c *Concurrency) unpublished(all bool) map[key]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := map[key]int{}
	if all {
		maps.Copy(counts, c.held)
	} else {
		for client := range c.changed {
			counts[client] = c.held[client]
		}
	}
	clear(c.changed)
	return counts
}

// learn records the number of operations of clients at another replica: of all clients if all is
// true, otherwise of those whose number has changed.
func (c *Concurrency) learn(replica string, counts map[key]int, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if all {
		c.forget(replica)
	}
	reported := c.reported[replica]
	if reported == nil {
		reported = map[key]int{}
		c.reported[replica] = reported
	}
	for client, n := range counts {
		if _, known := reported[client]; !known && len(reported) >= maxReported {
			continue
		}
		set(c.others, client, c.others[client]+n-reported[client])
		set(reported, client, n)
	}
}

// lose forgets the operations of clients at another replica.
func (c *Concurrency) lose(replica string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(replica)
}

// forget forgets the operations of clients at another replica. The caller must hold the lock.
func (c *Concurrency) forget(replica string) {
	for client, n := range c.reported[replica] {
		set(c.others, client, c.others[client]-n)
	}
	delete(c.reported, replica)
}

// set sets a count. A client without operations has no entry.
func set(counts map[key]int, client key, n int) {
	if n == 0 {
		delete(counts, client)
		return
	}
	counts[client] = n
}

// Exceeded returns the failure of a client that exceeds a limit. The parameter what is the name of
// the limited requests or operations. The parameter wait becomes the Retry-After.
func Exceeded(what string, wait time.Duration) error {
	return &fault.Error{
		Kind: fault.RateLimited, Code: "rate-limited", RetryAfter: max(wait, time.Millisecond),
		Extra:  map[string]any{"limit": what},
		Detail: "This client exceeds the limit of " + what + ". Please try again later.",
	}
}
