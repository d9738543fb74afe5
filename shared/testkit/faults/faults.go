// Package faults makes operations of dependencies fail in tests.
//
// A test wraps the real dependencies of the tested code in types whose methods call Read, Write or
// Run. Sweep then makes each of the operations fail in turn, and the test checks that the result is
// the same as without a fault.
package faults

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"sori.internal/shared/fault"
)

// Operation is an operation of a dependency.
type Operation struct {
	Name   string
	Writes bool // the operation may change something
}

// Plan counts the operations of all dependencies, and makes some of them fail with
// fault.Unavailable. It is safe for concurrent use.
type Plan struct {
	at   []int
	lost bool

	mu         sync.Mutex
	operations []Operation
	failed     []string
}

// New returns a plan in which the operations with the given numbers fail, counted from 0. If lost is
// true, an operation that writes is performed before it fails, as if only its response was lost.
func New(lost bool, at ...int) *Plan { return &Plan{lost: lost, at: at} }

// Operations returns the operations so far.
func (p *Plan) Operations() []Operation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.operations)
}

// Failed returns the names of the operations that have failed.
func (p *Plan) Failed() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.failed)
}

// next counts an operation, and reports whether it fails.
func (p *Plan) next(o Operation) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	fails := slices.Contains(p.at, len(p.operations))
	p.operations = append(p.operations, o)
	if fails {
		p.failed = append(p.failed, o.Name)
	}
	return fails
}

func injected(name string) error {
	return fault.Unreachable("dependency", errors.New("the test injects a fault into "+name))
}

// Read performs an operation that changes nothing, unless it fails.
func Read[T any](p *Plan, name string, do func() (T, error)) (T, error) {
	if p.next(Operation{Name: name}) {
		var none T
		return none, injected(name)
	}
	return do()
}

// Write performs an operation that may change something. If the operation fails, it is performed
// only if its response is lost.
func Write[T any](p *Plan, name string, do func() (T, error)) (T, error) {
	fails := p.next(Operation{Name: name, Writes: true})
	if !fails || p.lost {
		if result, err := do(); err != nil || !fails {
			return result, err
		}
	}
	var none T
	return none, injected(name)
}

// Run is Write for an operation without a result.
func Run(p *Plan, name string, do func() error) error {
	_, err := Write(p, name, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// Sweep plays a scenario without faults, and then once for each of its operations, which fails. An
// operation that writes also fails with its response lost. The scenario reports to t what is wrong.
// Until the operation that fails, it should perform the same operations each time.
func Sweep(t testing.TB, play func(*Plan)) {
	t.Helper()
	none := New(false)
	play(none)
	for at, o := range none.Operations() {
		for _, lost := range []bool{false, true} {
			if lost && !o.Writes {
				continue
			}
			p := New(lost, at)
			if play(p); t.Failed() {
				t.Fatalf("operation %d failed: %v; response lost: %t", at, p.Failed(), lost)
			}
		}
	}
}
