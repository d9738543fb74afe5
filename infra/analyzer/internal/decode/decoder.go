package decode

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Settings bound a Decoder.
type Settings struct {
	Program    string  // the decoder's; built from its source when empty
	Cache      string  // folder of what is built and compiled; the user's when empty
	Processes  int     // at the same time
	Memory     int64   // bytes that the decoding of one recording may allocate
	MaxSeconds float64 // longest recording that is taken
}

// idleTime is how long a process waits for the next recording: starting one takes half a second, keeping one 200 MB.
const idleTime = time.Minute

// Decoder keeps the processes that decode. They start when they are needed, serve one recording after the other, and end when
// they are idle or when the decoder is closed. It is safe for concurrent use.
type Decoder struct {
	settings Settings
	program  *program
	slots    chan struct{} // one for each process that works

	mu     sync.Mutex // guards what follows
	idle   []*worker
	closed bool
}

// New returns a decoder; nothing runs yet.
func New(settings Settings) *Decoder {
	return &Decoder{
		settings: settings, slots: make(chan struct{}, settings.Processes),
		program: &program{path: settings.Program, cache: settings.Cache},
	}
}

// Prepare builds and compiles what is missing, so that the first recording need not wait for it.
func (d *Decoder) Prepare(ctx context.Context) error {
	_, err := d.program.find(ctx)
	return err
}

// Close ends the idle processes. Those that work end with their streams.
func (d *Decoder) Close() {
	d.mu.Lock()
	idle := d.idle
	d.idle, d.closed = nil, true
	d.mu.Unlock()
	for _, w := range idle {
		w.end()
	}
}

// take returns an idle process or a new one. The caller gives it back.
func (d *Decoder) take(ctx context.Context) (*worker, error) {
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a decoder: %w", context.Cause(ctx))
	}
	for {
		w := d.pop()
		if w == nil {
			break
		}
		if w.alive() {
			return w, nil
		}
		w.end()
	}
	w, err := d.launch(ctx)
	if err != nil {
		<-d.slots
		return nil, err
	}
	return w, nil
}

func (d *Decoder) launch(ctx context.Context) (*worker, error) {
	found, err := d.program.find(ctx)
	if err != nil {
		return nil, err
	}
	return launch(ctx, found, d.settings.Memory)
}

// pop takes the process that was used last, so that the others become old.
func (d *Decoder) pop() *worker {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) == 0 {
		return nil
	}
	w := d.idle[len(d.idle)-1]
	d.idle = d.idle[:len(d.idle)-1]
	w.retire.Stop()
	return w
}

// give takes a process back. One that is not fit for another recording is ended.
func (d *Decoder) give(w *worker, fit bool) {
	if !fit || !d.keep(w) {
		w.end()
	}
	<-d.slots
}

func (d *Decoder) keep(w *worker) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.idle = append(d.idle, w)
	w.retire = time.AfterFunc(idleTime, func() { d.remove(w) })
	return true
}

// remove ends a process that has been idle for too long, unless it was taken in this moment.
func (d *Decoder) remove(w *worker) {
	d.mu.Lock()
	at := -1
	for i, other := range d.idle {
		if other == w {
			at = i
		}
	}
	if at >= 0 {
		d.idle = append(d.idle[:at], d.idle[at+1:]...)
	}
	d.mu.Unlock()
	if at >= 0 {
		w.end()
	}
}
