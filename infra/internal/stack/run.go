package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"sori.internal/infra/internal/stack/proc"
)

// watch registers a part that has started. It logs the end of the part and reports it to Exited, unless the part was stopped
// on purpose.
func (s *Stack) watch(part Part, srv server) {
	m := &member{server: srv, expected: make(chan struct{}), watched: make(chan struct{})}
	s.mu.Lock()
	s.parts[part] = m
	s.mu.Unlock()
	go func() {
		defer close(m.watched)
		select {
		case <-m.expected:
			return
		case <-srv.Done():
		}
		select {
		case <-m.expected: // if both channels are closed, the first select chooses at random; the stop was on purpose
			return
		default:
		}
		s.opts.Log.Error().Err(srv.Err()).Str("part", string(part)).Msg("part ended by itself")
		select {
		case s.exited <- fmt.Errorf("%s ended: %w", part, srv.Err()):
		default: // the channel is full of sixteen unread errors
		}
	}()
}

// Exited returns a channel that receives an error for every part that ends without having been stopped. The channel is never
// closed.
func (s *Stack) Exited() <-chan error { return s.exited }

// PID returns the process ID of a part, or 0 if the part has not been started.
func (s *Stack) PID(part Part) int {
	m := s.member(part)
	if m == nil {
		return 0
	}
	return m.PID()
}

// Signal sends a signal to a part's process: SIGKILL for a crash, SIGSTOP and SIGCONT for a pause.
func (s *Stack) Signal(part Part, sig os.Signal) error {
	pid := s.PID(part)
	if pid == 0 {
		return fmt.Errorf("signal %s: it has no process of its own", part)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("signal %s: %w", part, err)
	}
	if err = p.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", part, err)
	}
	return nil
}

// PauseAll pauses a part's process and its child processes: PostgreSQL has a process for every connection. It works only on
// Linux, which lists child processes in /proc.
func (s *Stack) PauseAll(part Part) error {
	if err := s.Signal(part, syscall.SIGSTOP); err != nil { // first, since it makes further processes
		return err
	}
	// The list may lack a process if another one ends while it is read. So it is read until it has no new process.
	paused := map[int]bool{}
	for {
		children, err := s.children(part)
		if err != nil {
			return err
		}
		before := len(paused)
		for _, child := range children {
			if paused[child] {
				continue
			}
			if err := signalChild(part, child, syscall.SIGSTOP); err != nil {
				return err
			}
			paused[child] = true
		}
		if len(paused) == before {
			return nil
		}
	}
}

// ContinueAll continues what PauseAll has paused.
func (s *Stack) ContinueAll(part Part) error {
	children, err := s.children(part) // before they continue: the list is complete while none of them can end
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := signalChild(part, child, syscall.SIGCONT); err != nil {
			return err
		}
	}
	return s.Signal(part, syscall.SIGCONT)
}

func signalChild(part Part, child int, sig syscall.Signal) error {
	if err := syscall.Kill(child, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %s: %w", part, err)
	}
	return nil
}

// children returns the process IDs of the child processes of a part.
func (s *Stack) children(part Part) ([]int, error) {
	pid := strconv.Itoa(s.PID(part))
	list, err := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
	if err != nil {
		return nil, fmt.Errorf("signal %s: %w", part, err)
	}
	var children []int
	for child := range strings.FieldsSeq(string(list)) {
		n, err := strconv.Atoi(child)
		if err != nil {
			return nil, fmt.Errorf("signal %s: %w", part, err)
		}
		children = append(children, n)
	}
	return children, nil
}

// Restart stops a part, if it still runs, and starts it again with the same data and on the same port. It must not be called
// concurrently.
func (s *Stack) Restart(ctx context.Context, part Part) error {
	m := s.member(part)
	if m == nil {
		return fmt.Errorf("restart %s: it is not running", part)
	}
	port := m.Port()
	if err := m.end(ctx); err != nil {
		return fmt.Errorf("restart %s: %w", part, err)
	}
	if err := s.start(ctx, part, proc.Port{Fixed: port}); err != nil {
		return fmt.Errorf("restart %s: %w", part, err)
	}
	return nil
}

// Stop stops the parts in reverse order and returns when all of their processes have exited. It may be called several times
// and concurrently: every call returns the same error. When ctx ends, Stop kills the remaining processes instead of waiting for
// a graceful stop; it still returns only after all have exited.
func (s *Stack) Stop(ctx context.Context) error {
	s.once.Do(func() {
		var errs []error
		for _, part := range slices.Backward(s.Parts()) {
			if m := s.member(part); m != nil {
				_ = s.ContinueAll(part) // a part whose processes are paused would not react to the stop
				errs = append(errs, m.end(ctx))
			}
		}
		s.stopErr = errors.Join(append(errs, s.lock.Release())...)
	})
	return s.stopErr
}

func (s *Stack) member(part Part) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parts[part]
}

// expect marks the coming end of the part as intended, so that watch does not report it.
func (m *member) expect() { m.once.Do(func() { close(m.expected) }) }

// end stops a part on purpose. A second call does nothing.
func (m *member) end(ctx context.Context) error {
	m.expect()
	err := m.Stop(ctx)
	<-m.watched
	return err
}
