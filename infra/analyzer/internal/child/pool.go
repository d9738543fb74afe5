package child

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Member is a process that a pool manages.
type Member interface {
	comparable
	Alive() bool
	End() // ends the process and waits until it has ended
}

// Pool manages processes of one kind. A process is started when it is needed, works on one job after the other, and
// ends when it has been idle for too long or when the pool is closed. A Pool is safe for concurrent use.
type Pool[P Member] struct {
	start func(context.Context) (P, error)
	ttl   time.Duration // longest time that a process may be idle
	slots chan struct{} // contains one element for each process that works

	mu     sync.Mutex // guards the fields below
	idle   []idle[P]
	closed bool
}

// idle is a process of the pool that has no work.
type idle[P Member] struct {
	process P
	retire  *time.Timer // ends the process when it has been idle for too long
}

// NewPool returns a pool in which at most size processes work at the same time. It starts no process.
func NewPool[P Member](size int, ttl time.Duration, start func(context.Context) (P, error)) *Pool[P] {
	return &Pool[P]{start: start, ttl: ttl, slots: make(chan struct{}, size)}
}

// Take returns an idle process or a new one. If the allowed number of processes is working, Take waits until a process
// is returned or ctx ends. The caller must return the process with Give.
func (p *Pool[P]) Take(ctx context.Context) (P, error) {
	var none P
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("wait for a process: %w", context.Cause(ctx))
	}
	for {
		process, ok := p.pop()
		if !ok {
			break
		}
		if process.Alive() {
			return process, nil
		}
		process.End()
	}
	process, err := p.start(ctx)
	if err != nil {
		<-p.slots
		return none, err
	}
	return process, nil
}

// pop removes the idle process that was used last and returns it, so that the other idle processes stay idle for long
// and are ended.
func (p *Pool[P]) pop() (process P, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return process, false
	}
	last := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	last.retire.Stop()
	return last.process, true
}

// Give returns a process to the pool. If fit is false, or if the pool is closed, Give ends the process instead.
func (p *Pool[P]) Give(process P, fit bool) {
	if !fit || !p.keep(process) {
		process.End()
	}
	<-p.slots
}

func (p *Pool[P]) keep(process P) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.idle = append(p.idle, idle[P]{process, time.AfterFunc(p.ttl, func() { p.remove(process) })})
	return true
}

// remove ends a process that has been idle for too long, unless pop has just taken it.
func (p *Pool[P]) remove(process P) {
	p.mu.Lock()
	at := slices.IndexFunc(p.idle, func(i idle[P]) bool { return i.process == process })
	if at >= 0 {
		p.idle = slices.Delete(p.idle, at, at+1)
	}
	p.mu.Unlock()
	if at >= 0 {
		process.End()
	}
}

// Idle returns the idle processes.
func (p *Pool[P]) Idle() []P {
	p.mu.Lock()
	defer p.mu.Unlock()
	processes := make([]P, 0, len(p.idle))
	for _, i := range p.idle {
		processes = append(processes, i.process)
	}
	return processes
}

// Close ends the idle processes. Processes that are working end when they are returned with Give.
func (p *Pool[P]) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, i := range idle {
		i.process.End()
	}
}
