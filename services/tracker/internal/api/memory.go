package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// Sizes finds the sizes of results.
type Sizes interface {
	// ResultSize returns the size of a job's result in bytes; 0 if it is small, or if there is none.
	ResultSize(ctx context.Context, id string) (int64, error)
}

// copies is how many times a large result is in memory while a response with it is made: as it was
// read, as it is encoded, and as it is written.
const copies = 3

// memoryWait is how long a request waits for memory.
const memoryWait = 5 * time.Second

// memory bounds the memory of the large results that are being sent. A client that reads slowly keeps
// its result in memory; without a bound, a few dozen of them would use all memory of the process. One
// owner gets at most a quarter, so that others are served meanwhile.
type memory struct {
	total, share int64

	mu     sync.Mutex
	used   int64
	owners map[string]int64
	freed  chan struct{} // closed, and replaced, when memory is freed
}

func newMemory(total int64) *memory {
	return &memory{total: total, share: total / 4, owners: map[string]int64{}, freed: make(chan struct{})} //nolint:mnd // a quarter
}

// acquire takes memory for an owner, and waits for it for a while. An empty owner, of an instance
// without authentication, may use all of it. release gives the memory back.
func (m *memory) acquire(ctx context.Context, owner string, n int64) (release func(), err error) {
	n = min(n, m.share) // a single result larger than that is sent alone
	timeout := time.NewTimer(memoryWait)
	defer timeout.Stop()
	for {
		freed, ok := m.take(owner, n)
		if ok {
			return sync.OnceFunc(func() { m.free(owner, n) }), nil
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

func (m *memory) take(owner string, n int64) (freed <-chan struct{}, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used+n > m.total || owner != "" && m.owners[owner]+n > m.share {
		return m.freed, false
	}
	m.used += n
	m.owners[owner] += n
	return nil, true
}

func (m *memory) free(owner string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= n
	if m.owners[owner] -= n; m.owners[owner] == 0 {
		delete(m.owners, owner)
	}
	close(m.freed)
	m.freed = make(chan struct{})
}

// withResult makes a handler whose response may contain the result of the job. It bounds the memory
// of large results.
func (a *API) withResult(h jobHandler) jobHandler {
	return func(w http.ResponseWriter, r *http.Request, id string) error {
		size, err := a.Sizes.ResultSize(r.Context(), id)
		if err != nil {
			return err
		}
		if size == 0 {
			return h(w, r, id)
		}
		release, err := a.memory.acquire(r.Context(), principal.From(r.Context()).Owner, copies*size)
		if err != nil {
			return err
		}
		defer release()
		return h(w, r, id)
	}
}
