// Package proc runs the processes that a local stack consists of.
//
// It also contains locks, by which one process at a time uses a folder, and finds free ports. It guarantees:
//
//   - A process does not outlive its parent, as far as the system allows: on Linux the kernel sends Spec.OnParentDeath to
//     it, and on every system a part of a stack ends when its stdin is closed.
//   - A terminal's Ctrl-C reaches only the parent, which then stops its processes in order.
//   - Stop returns only after the process has exited.
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

// outputGrace is how long to wait for the end of the output after a process has ended: its children may keep the pipe open.
const outputGrace = 5 * time.Second

// groupGrace is how long to wait for the other processes of a group that was killed.
const groupGrace = 2 * time.Second

// ErrExited is the error of a process that exited with status 0. It is an error because servers are not meant to exit by
// themselves.
var ErrExited = errors.New("exit status 0")

// User is the identity under which a process runs.
type User struct {
	Name     string
	UID, GID uint32
}

// credential returns the user and group for a process, without supplementary groups; nil for the current user.
func credential(u *User) *syscall.Credential {
	if u == nil {
		return nil
	}
	return &syscall.Credential{Uid: u.UID, Gid: u.GID}
}

// Spec describes a process to start.
type Spec struct {
	Name string // name of the process in logs and errors
	Path string
	Args []string
	Env  []string // the whole environment; no variable is inherited
	Dir  string
	User *User // nil is the current user

	// OnParentDeath is the signal that the process receives when its parent dies; Linux only.
	OnParentDeath syscall.Signal

	Log zerolog.Logger // receives the output, one entry per line, at level debug or, for warnings and errors of the process, warn

	stdin  *os.File
	report *os.File
}

// Process is a running process, or one that has ended.
type Process struct {
	name  string
	cmd   *exec.Cmd
	out   *lines
	input *os.File // the write end of stdin, whose close ends a part of a stack; nil for other processes
	once  sync.Once
	done  chan struct{}
	err   error // valid after done
}

// Start starts a process and returns at once. It does not wait until the process is ready.
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

// run starts the process and waits for its end on one locked thread, because Linux sends OnParentDeath when the thread that
// created the process ends.
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

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the process has ended and its output has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the process ended, with the last lines of its output, or nil while it runs.
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

// Step is a request to a process to end, and how long to wait for the end before the next step.
type Step struct {
	Signal os.Signal // nil closes the stdin of the process
	Grace  time.Duration
}

// Stop executes the steps one after the other until the process has exited. If it still runs after the last one, Stop kills
// its process group. The end of ctx ends the waits of the steps; Stop never returns before the process has exited.
func (p *Process) Stop(ctx context.Context, steps ...Step) {
	for _, step := range steps {
		if p.ended() {
			break
		}
		if step.Signal == nil {
			p.endInput()
		} else {
			// The error is ignored: if the process is not ending already, the next step or the kill ends it.
			_ = p.cmd.Process.Signal(step.Signal)
		}
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // a process paused by SIGSTOP would not react within the grace period
		p.await(ctx, step.Grace)
	}
	if !p.ended() {
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
		<-p.done
		p.awaitGroup()
	}
	p.endInput()
}

// awaitGroup returns when no process of the killed group is left, or after groupGrace. Wait reports only the end of our own
// child; the processes that it has started end a moment later. There is a limit because a zombie that no parent reaps still
// counts as a process of the group.
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
			_ = p.input.Close() // an error is ignored: the pipe is closed in any case
		}
	})
}

// Run runs a process and waits until it ends by itself. If ctx ends first, Run kills the process.
func Run(ctx context.Context, spec Spec) error {
	p, err := Start(spec)
	if err != nil {
		return err
	}
	return p.wait(ctx)
}

// wait waits until the process ends by itself, and returns nil if the exit status is 0. If ctx ends first, wait kills the
// process.
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
