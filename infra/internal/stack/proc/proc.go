// Package proc runs the processes that a local stack consists of.
//
// It also has the locks that keep a folder for one process, and the ports that the processes listen on.
// It guarantees that a process does not outlive the one that started it as far as the system allows (on Linux the
// kernel sends OnParentDeath, and a part of a stack ends everywhere when its input ends), that a terminal's Ctrl-C
// reaches only the parent, which then stops its processes in order, and that Stop returns only when the process is gone.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// outputGrace bounds the wait for the output of a process that has ended: its own children may hold it open.
const outputGrace = 5 * time.Second

// groupGrace bounds the wait for the other processes of a group that was killed.
const groupGrace = 2 * time.Second

// ErrExited is what a process that ended with status 0 ended with: none of them is meant to end by itself.
var ErrExited = errors.New("exit status 0")

// User is the identity under which a process runs.
type User struct {
	Name     string
	UID, GID uint32
}

// Spec says what to run.
type Spec struct {
	Name string // for logs and errors
	Path string
	Args []string
	Env  []string // the whole environment, nothing is inherited
	Dir  string
	User *User // nil runs it as the present user

	// OnParentDeath is sent to the process when this one dies; only Linux knows it.
	OnParentDeath syscall.Signal

	Log zerolog.Logger // gets the output, line by line, at debug level

	stdin  *os.File
	report *os.File
}

// Process is a running process, or one that has ended.
type Process struct {
	name  string
	cmd   *exec.Cmd
	out   *lines
	input *os.File // its end ends a part of a stack; nil for any other
	once  sync.Once
	done  chan struct{}
	err   error // valid after done
}

// Start starts a process and returns at once; nothing is known about its health.
func Start(spec Spec) (*Process, error) {
	p := &Process{name: spec.Name, out: &lines{log: spec.Log}, done: make(chan struct{})}
	p.cmd = exec.Command(spec.Path, spec.Args...)
	p.cmd.Env = append([]string{}, spec.Env...)
	p.cmd.Dir = spec.Dir
	p.cmd.Stdout = p.out
	p.cmd.Stderr = p.out
	p.cmd.WaitDelay = outputGrace
	p.cmd.SysProcAttr = attributes(spec)
	if spec.stdin != nil {
		p.cmd.Stdin = spec.stdin
	}
	if spec.report != nil {
		p.cmd.ExtraFiles = []*os.File{spec.report}
	}

	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return p, nil
}

// run keeps the thread that created the process: Linux takes the end of that thread for the parent's death.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	if err = p.cmd.Wait(); err == nil {
		err = ErrExited
	}
	if last := p.out.tail(); last != "" {
		err = fmt.Errorf("%s: %w: %s", p.name, err, last)
	} else {
		err = fmt.Errorf("%s: %w", p.name, err)
	}
	p.err = err
	close(p.done)
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and its output is read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err tells how the process ended, with the last lines that it wrote; nil while it runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Signal sends a signal to the process itself, not to its children.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Step is one way to ask a process to end, and the time it gets before the next.
type Step struct {
	Signal os.Signal // nil ends the input
	Grace  time.Duration
}

// Stop takes the steps one after the other until the process is gone, and at last kills its whole group. The end of
// ctx shortens the steps; it never makes Stop return before the process is gone.
func (p *Process) Stop(ctx context.Context, steps ...Step) {
	for _, step := range steps {
		if p.ended() {
			break
		}
		if step.Signal == nil {
			p.endInput()
		} else {
			// A refused signal means that the process is ending; the next step or the kill settles it.
			_ = p.cmd.Process.Signal(step.Signal)
		}
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // a paused process would sit out its grace
		p.await(ctx, step.Grace)
	}
	if !p.ended() {
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
		<-p.done
		p.awaitGroup()
	}
	p.endInput()
}

// awaitGroup returns when no process of the killed group is left. The system tells only of the end of our own child;
// the processes that it had started end a moment later. A zombie that nobody reaps counts as a process, hence the bound.
func (p *Process) awaitGroup() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(groupGrace); time.Now().Before(limit); <-tick.C {
		if errors.Is(syscall.Kill(-p.PID(), 0), syscall.ESRCH) {
			return
		}
	}
}

func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *Process) await(ctx context.Context, grace time.Duration) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (p *Process) endInput() {
	p.once.Do(func() {
		if p.input != nil {
			_ = p.input.Close() // only its being closed matters
		}
	})
}

// Run runs a process that ends by itself, and kills it when ctx ends first.
func Run(ctx context.Context, spec Spec) error {
	p, err := Start(spec)
	if err != nil {
		return err
	}
	return p.wait(ctx)
}

// wait returns how a process ended that was meant to end by itself, and kills it when ctx ends first.
func (p *Process) wait(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Stop(ctx)
		return fmt.Errorf("%s: %w", p.name, context.Cause(ctx))
	}
	if errors.Is(p.err, ErrExited) {
		return nil
	}
	return p.err
}
