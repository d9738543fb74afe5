package resumable

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"sori.internal/shared/fault"
)

func taken(t *testing.T, m *memory, size int64) []byte {
	t.Helper()
	b, err := m.take(t.Context(), size)
	if err != nil || int64(len(b)) < size {
		t.Fatalf("a buffer of %d bytes: %v", len(b), err)
	}
	return b
}

func TestMemoryIsLimitedAndGivenInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 16
		m := newMemory(size, 3*size+1)
		held := [][]byte{taken(t, m, size), taken(t, m, size), taken(t, m, 2*size)} // the last buffer is larger than m.size
		order := make(chan int, 2)
		for i := range 2 {
			go func() {
				b, err := m.take(t.Context(), size)
				if err != nil {
					t.Error(err)
					return
				}
				order <- i
				m.give(b)
			}()
			synctest.Wait() // the first request waits before the second begins
		}
		if len(order) != 0 || !m.wanted() {
			t.Errorf("%d buffers more than the limit", len(order))
		}
		m.give(held[0])
		if first, second := <-order, <-order; first != 0 || second != 1 {
			t.Errorf("given to %d before %d", first, second)
		}
		for _, b := range held[1:] {
			m.give(b)
		}
		if m.wanted() || m.held != 0 || len(m.free) != 0 {
			t.Errorf("of an idle process %d buffers are mapped", len(m.free))
		}
	})
}

func TestARequestDoesNotWaitForMemoryForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1<<16, 0) // two buffers
		held := [][]byte{taken(t, m, 1), taken(t, m, 1)}
		began := time.Now()
		if _, err := m.take(t.Context(), 1); fault.As(err).Code != "busy" || time.Since(began) != memoryPatience {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		ctx, leave := context.WithCancelCause(t.Context())
		gone := errors.New("the client has left")
		time.AfterFunc(time.Second, func() { leave(gone) })
		if _, err := m.take(ctx, 1); !errors.Is(err, gone) {
			t.Errorf("without its client: %v", err)
		}
		for _, b := range held {
			m.give(b)
		}
		m.give(taken(t, m, 1)) // succeeds, since the requests above hold no buffer
	})
}

func TestNobodyReadsABufferAfterItsLoan(t *testing.T) {
	t.Parallel()
	l := &loan{rest: []byte("abc")}
	p := make([]byte, 2)
	if n, err := l.Read(p); n != 2 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	l.end()
	if n, err := l.Read(p); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
}
