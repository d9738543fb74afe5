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

// stopGrace is how long a process may take to end when it is asked to: longer than the grace that services give to their
// own work in hand.
const stopGrace = 30 * time.Second

// ErrNotRunning says that a process was stopped or killed, or has ended by itself.
var ErrNotRunning = errors.New("process is not running")

// ErrKilled says that a process had to be killed because it did not end in time.
var ErrKilled = errors.New("process did not end when asked")

// Process is one copy of a program. Its methods are safe for concurrent use; those that change its state wait for one
// another.
type Process struct {
	name    string
	url     string
	program string
	log     string
	exited  chan<- error

	change sync.Mutex // held while starting and stopping

	mu      sync.Mutex // guards what follows
	env     map[string]string
	running *run
}

// run is one life of a process.
type run struct {
	*proc.Process
	expected chan struct{} // closed before it is ended on purpose
	once     sync.Once
	watched  chan struct{} // closed when its end is known
}

// Name is the program's name and the number of the copy: "gateway-0".
func (p *Process) Name() string { return p.name }

// URL is where the process answers, without a trailing slash.
func (p *Process) URL() string { return p.url }

// Log is the file with all that the process has written, over all its starts.
func (p *Process) Log() string { return p.log }

// Setenv changes a setting for the starts to come.
func (p *Process) Setenv(name, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env[name] = value
}

// Running tells whether the process lives.
func (p *Process) Running() bool { return p.PID() != 0 }

// PID is the number of the process, 0 for one that does not run.
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

// Usage is what the process has used since it was started.
func (p *Process) Usage() (Usage, error) {
	pid := p.PID()
	if pid == 0 {
		return Usage{}, fmt.Errorf("measure %s: %w", p.name, ErrNotRunning)
	}
	return UsageOf(pid)
}

// Signal sends a signal: SIGSTOP and SIGCONT for a pause, SIGQUIT for the stacks of its goroutines. To end it use Kill or
// Stop, which do not count as unexpected.
func (p *Process) Signal(sig os.Signal) error {
	r := p.current()
	if r == nil {
		return fmt.Errorf("signal %s: %w", p.name, ErrNotRunning)
	}
	return r.Signal(sig)
}

// Start starts the process and returns when it is ready. One that runs already only has to be ready.
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

// Kill ends the process at once, as a crash would, and returns when it is gone. One that does not run stays so.
func (p *Process) Kill() {
	p.change.Lock()
	defer p.change.Unlock()
	_ = p.end(context.Background(), syscall.SIGKILL) // a kill is never too late
}

// Stop asks the process to end and returns when it is gone. One that takes too long is killed, which is ErrKilled.
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

// watch tells of an end that nobody asked for.
func (p *Process) watch(r *run, out io.Closer) {
	defer close(r.watched)
	<-r.Done()
	_ = out.Close() // written line by line, nothing is held back
	select {
	case <-r.expected:
		return
	default:
	}
	select {
	case p.exited <- fmt.Errorf("%s ended by itself: %w", p.name, r.Err()):
	default: // sixteen earlier ends are unread: one more tells nothing new
	}
}

// end ends the process with a first signal, then with SIGKILL.
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

// environ is the environment that the process starts with.
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

// inherited are the variables that a process has from its parent: what the system and the Go runtime know, and no settings,
// so that a run does not depend on what happens to be exported.
func inherited() []string {
	return []string{
		"PATH", "HOME", "TMPDIR", "TZ",
		"GODEBUG", "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GOTRACEBACK", "GORACE", "GOCOVERDIR",
	}
}

// plain writes the lines of a process as they were, without what the logger puts around them.
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
