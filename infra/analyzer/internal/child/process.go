// Package child starts processes that parse untrusted files, and keeps them for further files.
//
// It guarantees:
//
//  1. A process gets only the environment variables that the system needs and those in Spec.Env, so that it does not see
//     settings and secrets.
//  2. A process can be killed at any time, from any goroutine.
//  3. The number of processes of a pool that work at the same time is limited, and a process that is idle for too long
//     ends.
package child

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// endPatience is how long End waits for a process to end by itself before it kills the process.
const endPatience = 2 * time.Second

// Spec describes a process to start.
type Spec struct {
	Path string
	Args []string
	Env  []string              // environment variables in addition to those that every process gets
	Run  func(*exec.Cmd) error // starts the command; if nil, the command's method Start is called
}

// Process is a process that reads requests from its standard input and writes responses to its standard output.
type Process struct {
	In  io.WriteCloser
	Out *os.File

	cmd    *exec.Cmd
	stderr *tail
	exited chan struct{} // closed when the process has ended
}

// Start starts a process.
func Start(spec Spec) (*Process, error) {
	p := &Process{stderr: &tail{}, exited: make(chan struct{})}
	p.cmd = exec.Command(spec.Path, spec.Args...) //nolint:noctx // the process outlives the job that starts it
	p.cmd.Env, p.cmd.Stderr = append(environment(), spec.Env...), p.stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, answers, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.In, p.Out, p.cmd.Stdout = in, out, answers
	run := spec.Run
	if run == nil {
		run = (*exec.Cmd).Start
	}
	if err := run(p.cmd); err != nil {
		return nil, errors.Join(err, out.Close(), answers.Close())
	}
	_ = answers.Close() // the process has its own copy of the descriptor
	go func() {
		_ = p.cmd.Wait() // the error is not needed: an incomplete answer on Out shows that the process has failed
		close(p.exited)
	}()
	return p, nil
}

// environment returns the few environment variables that every process gets, which contain no settings and no secrets.
func environment() []string {
	env := []string{"GOTRACEBACK=none"}
	for _, name := range []string{"SYSTEMROOT", "TMPDIR", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// Kill ends the process at once. It may be called from any goroutine, and repeatedly.
func (p *Process) Kill() { _ = p.cmd.Process.Kill() } // an error means that the process has ended already

// Exited returns a channel that is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Alive reports whether the process is still running.
func (p *Process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// End closes the standard input of the process, which makes the process end, and waits until it has ended. If that takes
// too long, End kills the process.
func (p *Process) End() {
	_ = p.In.Close()
	defer time.AfterFunc(endPatience, p.Kill).Stop()
	<-p.exited
	_ = p.Out.Close()
}

// Stderr returns the last 2 KiB that the process wrote to its standard error, for error messages.
func (p *Process) Stderr() string { return p.stderr.String() }

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// tail is an io.Writer that keeps only the last bytes of what a process writes to its standard error.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 2048

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// String returns the kept text.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}
