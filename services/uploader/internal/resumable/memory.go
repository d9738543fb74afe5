package resumable

import (
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// memoryTurn is how long a request with a slow client may hold a buffer while other requests
	// wait for one.
	memoryTurn = time.Second

	// memoryPatience is how long a request waits for a buffer. It is shorter than the time after
	// which the gateway gives up on a service that does not read the body.
	memoryPatience = 10 * time.Second
)

// memory has the buffers in which the requests of this process collect parts. Requests that wait
// for a buffer get one in the order in which they came.
//
// The buffers are mapped outside of the heap, because the garbage collector lets a heap grow to
// twice the size that is in use. They are unmapped when no request holds any buffer.
type memory struct {
	size    int64         // size of a buffer in bytes: that of a part of the largest upload
	places  chan struct{} // has a value for each buffer that a request holds
	waiting atomic.Int64  // number of requests that wait for a buffer

	mu   sync.Mutex
	held int
	free [][]byte // mapped buffers that no request holds
}

// newMemory makes a memory of buffers of size bytes. It has as many buffers as fit into the limit,
// in bytes, but at least two.
func newMemory(size, limit int64) *memory {
	return &memory{size: size, places: make(chan struct{}, max(2, limit/size))}
}

// take returns a buffer of at least size bytes. It returns an error if no buffer is free within
// memoryPatience.
func (m *memory) take(ctx context.Context, size int64) ([]byte, error) {
	m.waiting.Add(1)
	defer m.waiting.Add(-1)
	timer := time.NewTimer(memoryPatience)
	defer timer.Stop()
	select {
	case m.places <- struct{}{}:
	case <-timer.C:
		return nil, tooManyWriters()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	b, err := m.hold(size)
	if err != nil {
		<-m.places
	}
	return b, err
}

func (m *memory) hold(size int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last := len(m.free) - 1; last >= 0 && size <= m.size {
		b := m.free[last]
		m.free = m.free[:last]
		m.held++
		return b, nil
	}
	b, err := mapBuffer(max(size, m.size))
	if err == nil {
		m.held++
	}
	return b, err
}

// give returns a buffer, which must not be in use any more.
func (m *memory) give(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = append(m.free, b)
	m.held--
	m.free = slices.DeleteFunc(m.free, func(b []byte) bool {
		idle := m.held == 0 || int64(len(b)) > m.size
		if idle {
			unmapBuffer(b)
		}
		return idle
	})
	<-m.places
}

// wanted reports whether any request waits for a buffer.
func (m *memory) wanted() bool { return m.waiting.Load() > 0 }

// loan is a reader of a buffer that can be ended. It is necessary because an HTTP client may read
// the body of a request even after it has returned an error. At that time the buffer may belong to
// another request, or be unmapped.
type loan struct {
	mu   sync.Mutex
	rest []byte
}

// Read implements io.Reader.
func (l *loan) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// end ends the reading.
func (l *loan) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = nil
}
