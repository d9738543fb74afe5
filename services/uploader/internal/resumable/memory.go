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
	// memoryTurn is how long a request whose client is slow may hold a buffer that others wait for.
	memoryTurn = time.Second

	// memoryPatience is how long a request waits for a buffer. It is shorter than the gateway's limit
	// for a service that does not read.
	memoryPatience = 10 * time.Second
)

// memory has the buffers in which the requests of this process collect parts. Requests wait for them in
// the order in which they come.
//
// The buffers are mapped, and not in the heap: the garbage collector lets a heap grow to twice the size
// of what is in use. They are unmapped when no request holds one.
type memory struct {
	size    int64         // size of a buffer in bytes: a part of the largest upload
	places  chan struct{} // has an entry for each buffer that is held
	waiting atomic.Int64  // requests that wait for a buffer

	mu   sync.Mutex
	held int
	free [][]byte // buffers that are mapped and not held
}

// newMemory makes buffers of size bytes with a total of limit bytes, but at least two.
func newMemory(size, limit int64) *memory {
	return &memory{size: size, places: make(chan struct{}, max(2, limit/size))}
}

// take returns a buffer of at least size bytes. It fails if there is none for memoryPatience.
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

// give takes a buffer back. The buffer must not be in use any more.
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

// wanted reports whether requests wait for a buffer.
func (m *memory) wanted() bool { return m.waiting.Load() > 0 }

// loan is a reader of a buffer that can be ended. A client of HTTP may still read the body of a request
// after it has returned an error, when the buffer belongs to another request or is not mapped.
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
