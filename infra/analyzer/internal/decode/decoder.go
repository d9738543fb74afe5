package decode

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Settings limit a Decoder.
type Settings struct {
	Program    string  // path of the decoder program; if empty, it is built from its source
	Cache      string  // folder of the built and compiled decoder; if empty, in the user's cache folder
	Processes  int     // number of processes that run at the same time
	Memory     int64   // bytes that the decoding of one recording may allocate
	MaxSeconds float64 // longest recording that is accepted
}

// idleTime is how long a process waits for the next recording. Starting a process takes half a second; an idle one
// needs 200 MB.
const idleTime = time.Minute

// Decoder manages the processes that decode. A process is started when it is needed, decodes one recording after the
// other, and ends when it has been idle for idleTime or when the Decoder is closed. A Decoder is safe for concurrent
// use.
type Decoder struct {
	settings Settings
	program  *program
	slots    chan struct{} // one for each process that is decoding

	mu     sync.Mutex // guards the fields below
	idle   []*worker
	closed bool
}

// New returns a Decoder. It starts no process.
func New(settings Settings) *Decoder {
	return &Decoder{
		settings: settings, slots: make(chan struct{}, settings.Processes),
		program: &program{path: settings.Program, cache: settings.Cache},
	}
}

// Prepare builds and compiles the decoder if necessary, so that the first recording need not wait for that.
func (d *Decoder) Prepare(ctx context.Context) error {
	_, err := d.program.find(ctx)
	return err
}

// Close ends the idle processes. Processes that are decoding end with their streams.
func (d *Decoder) Close() {
	d.mu.Lock()
	idle := d.idle
	d.idle, d.closed = nil, true
	d.mu.Unlock()
	for _, w := range idle {
		w.end()
	}
}

// take returns an idle process or a new one. The caller must return it with give.
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

// pop returns the process that was used last, so that the others stay idle and end.
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

// give returns a process for the next recording, or ends it if it is not fit for one.
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

// remove ends a process that has been idle for too long, unless pop has just returned it.
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
