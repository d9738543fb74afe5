// Package harness starts Sori on this machine for the local runner, the tests, the benchmark and the
// fault injection. A Fleet runs the programs as processes; a System is a Fleet with a stack of
// dependencies. Any number of replicas may run, and each can be measured, paused, killed and
// restarted.
//
// A process keeps its address, its settings and its log file when it is restarted, so that its
// clients can connect again. No process outlives the process that started it (on Linux not even after
// kill -9), and Stop returns when all processes have ended. Exited reports processes that end without
// having been stopped.
package harness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"sori.internal/infra/internal/stack"
)

// The programs, by the names of their binaries and logs.
const (
	Gateway    = "gateway"
	Uploader   = "uploader"
	Dispatcher = "dispatcher"
	Tracker    = "tracker"
	Analyzer   = "analyzer" // the reference analysis server
)

// All is the key of the settings for every program in Options.Env.
const All = "*"

// Names lists the programs. Stop stops them in the reverse order.
func Names() []string { return []string{Analyzer, Tracker, Dispatcher, Uploader, Gateway} }

// Services lists the programs of Sori itself: all but the analysis server.
func Services() []string { return []string{Gateway, Uploader, Dispatcher, Tracker} }

// Options are the settings of a Fleet.
type Options struct {
	Dir      string // folder for the logs; created if it does not exist
	Programs string // the folder that Build filled
	Deps     stack.Endpoints

	// Replicas is the number of replicas by program, 1 for a program that is not in the map.
	Replicas map[string]int
	// Env contains settings by program, which replace the default ones. A program's own settings replace those under All.
	Env map[string]map[string]string
	// Secrets are generated at random if both are empty.
	Secrets Secrets
	// Pooled means that the services connect to the database through a pooler, to which only the owner of the database may log in.
	Pooled bool
}

// Fleet is a running set of processes. Its methods are safe for concurrent use.
type Fleet struct {
	layout   Layout
	replicas map[string][]*Process
	exited   chan error

	once    sync.Once
	stopErr error
}

// Start starts all processes concurrently and returns when all of them are ready. If one does not become ready, Start stops all
// of them and returns an error.
func Start(ctx context.Context, opts Options) (*Fleet, error) {
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("start the processes: %w", err)
	}
	if opts.Secrets == (Secrets{}) {
		opts.Secrets = Secrets{Webhook: rand.Text() + rand.Text(), Principal: rand.Text() + rand.Text()}
	}
	layout, err := Reserve(opts.Replicas, nil)
	if err != nil {
		return nil, fmt.Errorf("start the processes: %w", err)
	}
	opts.Env = withoutCache(opts.Env)
	administrator := Connections(opts.Deps, opts.Env[All])
	if opts.Pooled {
		delete(administrator, "DATABASE_URL")
	}
	accounts, err := Provision(ctx, administrator)
	if err != nil {
		return nil, fmt.Errorf("start the processes: %w", err)
	}
	f := &Fleet{layout: layout, replicas: map[string][]*Process{}, exited: make(chan error, 16)}
	for _, name := range Names() {
		for i := range layout[name] {
			f.replicas[name] = append(f.replicas[name], f.process(opts, accounts, name, i))
		}
	}
	if err := f.eachProcess(func(p *Process) error { return p.Start(ctx) }); err != nil {
		return nil, fmt.Errorf("start the processes: %w", errors.Join(err, f.Stop(context.WithoutCancel(ctx))))
	}
	return f, nil
}

// withoutCache returns settings by program, in which results are not cached unless the parameter env enables the cache: every
// upload must be analysed, although there are only a few different recordings.
func withoutCache(env map[string]map[string]string) map[string]map[string]string {
	all := map[string]map[string]string{}
	maps.Copy(all, env)
	all[All] = merge(map[string]string{"RESULT_CACHE_TTL": "0"}, env[All])
	return all
}

// process returns the i-th replica of a program, which is not started yet.
func (f *Fleet) process(opts Options, accounts Accounts, name string, i int) *Process {
	env := Environment(opts.Deps, f.layout, opts.Secrets, name, i)
	maps.Copy(env, map[string]string{"LOG_LEVEL": "warn", "LOG_FORMAT": "json"})
	maps.Copy(env, opts.Env[All])
	maps.Copy(env, opts.Env[name])
	if name != Analyzer { // the analysis server has no accounts
		env = accounts.Settings(env, name)
	}
	full := fmt.Sprintf("%s-%d", name, i)
	return &Process{
		name: full, url: f.layout.URL(name, i), admin: f.layout.URL(admin(name), i), program: filepath.Join(opts.Programs, name),
		log: filepath.Join(opts.Dir, full+".log"), env: env, exited: f.exited,
	}
}

// eachProcess calls the function do for all processes concurrently.
func (f *Fleet) eachProcess(do func(*Process) error) error {
	var group errgroup.Group
	for _, replicas := range f.replicas {
		for _, p := range replicas {
			group.Go(func() error { return do(p) })
		}
	}
	return group.Wait()
}

// URL returns the URL of the first replica of a program.
func (f *Fleet) URL(name string) string { return f.layout.URL(name, 0) }

// Process returns the i-th replica of a program, counted from 0, or nil if there is none.
func (f *Fleet) Process(name string, i int) *Process {
	if replicas := f.replicas[name]; i < len(replicas) {
		return replicas[i]
	}
	return nil
}

// Processes returns all replicas of a program.
func (f *Fleet) Processes(name string) []*Process {
	return append([]*Process(nil), f.replicas[name]...)
}

// Exited returns a channel that receives an error for every process that ends without having been stopped. The channel is
// never closed.
func (f *Fleet) Exited() <-chan error { return f.exited }

// URLs returns the URLs of all replicas of a program.
func (f *Fleet) URLs(name string) []string {
	urls := make([]string, len(f.layout[name]))
	for i := range urls {
		urls[i] = f.layout.URL(name, i)
	}
	return urls
}

// Stop stops the processes, the gateways first and the analysis servers last, and returns when all have exited. It may be
// called several times; every call returns the same error. When ctx ends, Stop kills the remaining processes. It returns
// ErrKilled if a process did not end in time and had to be killed.
func (f *Fleet) Stop(ctx context.Context) error {
	f.once.Do(func() {
		var errs []error
		names := Names()
		for i := len(names) - 1; i >= 0; i-- {
			var group errgroup.Group
			for _, p := range f.replicas[names[i]] {
				group.Go(func() error { return p.Stop(ctx) })
			}
			errs = append(errs, group.Wait())
		}
		f.stopErr = errors.Join(errs...)
	})
	return f.stopErr
}
