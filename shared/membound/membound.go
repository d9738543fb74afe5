// Package membound limits the memory of large responses. A response stays in memory until its
// client has read it; without a limit, a few dozen slow clients would use all memory of the
// process. One owner gets at most a quarter, so that others are served meanwhile.
package membound

import (
	"context"
	"sync"
	"time"

	"sori.internal/shared/fault"
)

// wait is how long a request waits for memory.
const wait = 5 * time.Second

// Bound is the memory that all responses may use together. It is safe for concurrent use.
type Bound struct {
	total, share int64

	mu     sync.Mutex
	used   int64
	owners map[string]int64
	freed  chan struct{} // closed, and replaced, when memory is freed
}

// New makes a bound of total bytes.
func New(total int64) *Bound {
	return &Bound{total: total, share: total / 4, owners: map[string]int64{}, freed: make(chan struct{})} //nolint:mnd // a quarter
}

// Acquire takes n bytes for an owner. If they are not free, it waits up to five seconds, and then
// fails with fault.Exhausted. An empty owner, of an instance without authentication, may use all of
// the memory. A response that is larger than a quarter of the memory counts as a quarter.
func (b *Bound) Acquire(ctx context.Context, owner string, n int64) (*Lease, error) {
	n = min(n, b.share)
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		freed, ok := b.take(owner, n)
		if ok {
			return &Lease{bound: b, owner: owner, size: n}, nil
		}
		select {
		case <-freed:
		case <-timeout.C:
			return nil, &fault.Error{
				Kind: fault.Exhausted, Code: "busy", RetryAfter: 2 * time.Second,
				Detail: "Too many large results are being read right now. Please try again.",
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (b *Bound) take(owner string, n int64) (freed <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.total || owner != "" && b.owners[owner]+n > b.share {
		return b.freed, false
	}
	b.used += n
	b.owners[owner] += n
	return nil, true
}

// Lease is the memory of one response. The methods of a nil Lease do nothing.
type Lease struct {
	bound *Bound
	owner string
	size  int64 // guarded by bound.mu
}

// Release releases the memory. Further calls do nothing.
func (l *Lease) Release() { l.Shrink(0) }

// Shrink releases all but n bytes. It does nothing if the lease has no more than n bytes.
func (l *Lease) Shrink(n int64) {
	if l == nil {
		return
	}
	b := l.bound
	b.mu.Lock()
	defer b.mu.Unlock()
	if n >= l.size {
		return
	}
	b.used -= l.size - n
	if b.owners[l.owner] -= l.size - n; b.owners[l.owner] == 0 {
		delete(b.owners, l.owner)
	}
	l.size = n
	close(b.freed)
	b.freed = make(chan struct{})
}
