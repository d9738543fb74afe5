package bus

import "sync"

// waiters is a set of goroutines that wait for the same event. The zero value is ready for use.
type waiters struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that the next call of wakeAll closes.
func (w *waiters) wait() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ch == nil {
		w.ch = make(chan struct{})
	}
	return w.ch
}

func (w *waiters) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ch != nil {
		close(w.ch)
		w.ch = nil
	}
}
