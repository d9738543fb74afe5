package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/proc"
)

// stopGrace is how long a process may take to end after the signal. It is longer than the time that services allow their
// work in hand at shutdown.
const stopGrace = 30 * time.Second

// ErrNotRunning means that a process was stopped or killed, or has ended by itself.
var ErrNotRunning = errors.New("process is not running")

// ErrKilled means that a process had to be killed because it did not end in time.
var ErrKilled = errors.New("process did not end when asked")

// Process is one replica of a program. Its methods are safe for concurrent use; Start, Restart, Kill and Stop wait for one
// another.
type Process struct {
	name    string
	url     string
	admin   string
	program string
	log     string
	exited  chan<- error

	change sync.Mutex // held while the process is being started or stopped

	mu      sync.Mutex // guards the fields below
	env     map[string]string
	running *run
}

// run is one run of a Process, from a start to the end.
type run struct {
	*proc.Process
	expected chan struct{} // closed before the process is ended on purpose
	once     sync.Once
	watched  chan struct{} // closed when watch has returned
}

// Name returns the name of the program and the number of the replica, such as "gateway-0".
func (p *Process) Name() string { return p.name }

// URL returns the base URL of the process, without a trailing slash.
func (p *Process) URL() string { return p.url }

// Admin returns the base URL of the metrics of the process, or "" if it is no service.
func (p *Process) Admin() string { return p.admin }

// Log returns the path of the file with the output of the process, of all its runs.
func (p *Process) Log() string { return p.log }

// Setenv changes an environment variable for later starts.
func (p *Process) Setenv(name, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env[name] = value
}

// Running reports whether the process runs.
func (p *Process) Running() bool { return p.PID() != 0 }

// PID returns the process ID, or 0 if the process does not run.
func (p *Process) PID() int {
	r := p.current()
	if r == nil {
		return 0
	}
	select {
	case <-r.Done():
		return 0
	default:
		return r.PID()
	}
}

// Usage returns the memory and CPU time of the process since its last start.
func (p *Process) Usage() (Usage, error) {
	pid := p.PID()
	if pid == 0 {
		return Usage{}, fmt.Errorf("measure %s: %w", p.name, ErrNotRunning)
	}
	return UsageOf(pid)
}

// Signal sends a signal, such as SIGSTOP and SIGCONT for a pause, or SIGQUIT to make the process print its goroutines. To end
// the process, use Kill or Stop: Fleet.Exited reports an end that Signal causes as unexpected.
func (p *Process) Signal(sig os.Signal) error {
	r := p.current()
	if r == nil {
		return fmt.Errorf("signal %s: %w", p.name, ErrNotRunning)
	}
	return r.Signal(sig)
}

// Start starts the process and returns when it is ready. If it runs already, Start only waits until it is ready.
func (p *Process) Start(ctx context.Context) error {
	p.change.Lock()
	defer p.change.Unlock()
	return p.start(ctx)
}

// Restart stops the process as Stop does, starts it again and returns when it is ready.
func (p *Process) Restart(ctx context.Context) error {
	p.change.Lock()
	defer p.change.Unlock()
	return errors.Join(p.end(ctx, syscall.SIGTERM), p.start(ctx))
}

// Kill kills the process with SIGKILL and returns when it has exited. If the process does not run, Kill does nothing.
func (p *Process) Kill() {
	p.change.Lock()
	defer p.change.Unlock()
	_ = p.end(context.Background(), syscall.SIGKILL) // the only error is ErrKilled, which a SIGKILL does not cause
}

// Stop sends SIGTERM and returns when the process has exited. If it takes too long, Stop kills it and returns ErrKilled.
func (p *Process) Stop(ctx context.Context) error {
	p.change.Lock()
	defer p.change.Unlock()
	return p.end(ctx, syscall.SIGTERM)
}

func (p *Process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running
}

func (p *Process) start(ctx context.Context) error {
	if p.Running() {
		return p.Ready(ctx)
	}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	started, err := proc.Start(proc.Spec{
		Name: p.name, Path: p.program, Env: p.environ(), OnParentDeath: syscall.SIGKILL,
		Log: zerolog.New(plain{out}),
	})
	if err != nil {
		return errors.Join(err, out.Close())
	}
	r := &run{Process: started, expected: make(chan struct{}), watched: make(chan struct{})}
	p.mu.Lock()
	p.running = r
	p.mu.Unlock()
	go p.watch(r, out)
	return p.Ready(ctx)
}

// watch waits for the end of a run, and reports it to Exited unless the process was ended on purpose.
func (p *Process) watch(r *run, out io.Closer) {
	defer close(r.watched)
	<-r.Done()
	_ = out.Close() // an error is ignored: every line is written at once, so none is lost
	select {
	case <-r.expected:
		return
	default:
	}
	select {
	case p.exited <- fmt.Errorf("%s ended by itself: %w", p.name, r.Err()):
	default: // the channel is full of sixteen unread errors
	}
}

// end sends sig and, if the process does not end in time, SIGKILL.
func (p *Process) end(ctx context.Context, sig syscall.Signal) error {
	r := p.current()
	if r == nil {
		return nil
	}
	r.once.Do(func() { close(r.expected) })
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	r.Stop(ctx, proc.Step{Signal: sig, Grace: stopGrace})
	<-r.watched
	p.mu.Lock()
	p.running = nil
	p.mu.Unlock()
	if ctx.Err() != nil {
		return fmt.Errorf("stop %s: %w", p.name, ErrKilled)
	}
	return nil
}

// environ returns the environment for the next start.
func (p *Process) environ() []string {
	env := map[string]string{}
	for _, name := range inherited() {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	p.mu.Lock()
	maps.Copy(env, p.env)
	p.mu.Unlock()
	lines := make([]string, 0, len(env))
	for name, value := range env {
		lines = append(lines, name+"="+value)
	}
	slices.Sort(lines)
	return lines
}

// inherited returns the names of the variables that a process inherits from its parent: those of the system and of the Go
// runtime, but no settings, so that a run does not depend on exported variables.
func inherited() []string {
	return []string{
		"PATH", "HOME", "TMPDIR", "TZ",
		"GODEBUG", "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GOTRACEBACK", "GORACE", "GOCOVERDIR",
	}
}

// plain is the writer of a zerolog logger. It writes the field "line" of each log entry, which is the original line of the
// process.
type plain struct{ out io.Writer }

// Write implements io.Writer.
func (w plain) Write(event []byte) (int, error) {
	var e struct {
		Line string `json:"line"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return 0, fmt.Errorf("write log: %w", err)
	}
	if _, err := io.WriteString(w.out, e.Line+"\n"); err != nil {
		return 0, fmt.Errorf("write log: %w", err)
	}
	return len(event), nil
}
