// Package harness starts Sori on this machine for the local runner, the tests, the benchmark and the
// fault injection: its programs as processes (Fleet), or these with dependencies of their own
// (System). Any number of replicas may run, to be measured, paused, killed and started again.
//
// A process keeps its address, its settings and its log file over every start, so that a client of
// it finds it again. No process outlives the one that started it (on Linux not even after kill -9),
// and Stop returns when all have ended. Exited delivers the end of a process that was not stopped.
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

// All is the key of settings that are for every program (Options.Env).
const All = "*"

// Names lists the programs in the order in which they are listed and, reversed, stopped.
func Names() []string { return []string{Analyzer, Tracker, Dispatcher, Uploader, Gateway} }

// Services lists the programs of Sori itself: all but the analysis server.
func Services() []string { return []string{Gateway, Uploader, Dispatcher, Tracker} }

// Options say what to run.
type Options struct {
	Dir      string // gets the logs; made if it is missing
	Programs string // the folder that Build filled
	Deps     stack.Endpoints

	// Copies is how many processes of a program are started: one of each that is not named here, none of one with 0.
	Copies map[string]int
	// Env replaces settings, by program; those under All come first.
	Env map[string]map[string]string
	// Secrets are drawn at random where they are empty.
	Secrets Secrets
}

// Fleet is a running set of processes. Its methods are safe for concurrent use.
type Fleet struct {
	layout Layout
	copies map[string][]*Process
	exited chan error

	once    sync.Once
	stopErr error
}

// Start starts the processes side by side and returns when all say that they are ready. Where one does not, all are stopped
// again.
func Start(ctx context.Context, opts Options) (*Fleet, error) {
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("start the processes: %w", err)
	}
	if opts.Secrets == (Secrets{}) {
		opts.Secrets = Secrets{Webhook: rand.Text() + rand.Text(), Principal: rand.Text() + rand.Text()}
	}
	layout, err := Reserve(opts.Copies, nil)
	if err != nil {
		return nil, fmt.Errorf("start the processes: %w", err)
	}
	f := &Fleet{layout: layout, copies: map[string][]*Process{}, exited: make(chan error, 16)}
	for _, name := range Names() {
		for i := range layout[name] {
			f.copies[name] = append(f.copies[name], f.process(opts, name, i))
		}
	}
	if err := f.each(func(p *Process) error { return p.Start(ctx) }); err != nil {
		return nil, fmt.Errorf("start the processes: %w", errors.Join(err, f.Stop(context.WithoutCancel(ctx))))
	}
	return f, nil
}

// process describes a process that does not run yet.
func (f *Fleet) process(opts Options, name string, i int) *Process {
	env := Environment(opts.Deps, f.layout, opts.Secrets, name, i)
	maps.Copy(env, map[string]string{"LOG_LEVEL": "warn", "LOG_FORMAT": "json"})
	maps.Copy(env, opts.Env[All])
	maps.Copy(env, opts.Env[name])
	full := fmt.Sprintf("%s-%d", name, i)
	return &Process{
		name: full, url: f.layout.URL(name, i), program: filepath.Join(opts.Programs, name),
		log: filepath.Join(opts.Dir, full+".log"), env: env, exited: f.exited,
	}
}

// each calls do for all processes side by side.
func (f *Fleet) each(do func(*Process) error) error {
	var group errgroup.Group
	for _, copies := range f.copies {
		for _, p := range copies {
			group.Go(func() error { return do(p) })
		}
	}
	return group.Wait()
}

// URL is where the first copy of a program answers.
func (f *Fleet) URL(name string) string { return f.layout.URL(name, 0) }

// Process is a copy of a program, counted from 0; nil where there is none.
func (f *Fleet) Process(name string, i int) *Process {
	if copies := f.copies[name]; i < len(copies) {
		return copies[i]
	}
	return nil
}

// Processes are all copies of a program.
func (f *Fleet) Processes(name string) []*Process { return append([]*Process(nil), f.copies[name]...) }

// Exited delivers an error for every process that ends without having been asked to. It is never closed.
func (f *Fleet) Exited() <-chan error { return f.exited }

// URLs are where all replicas of a program answer.
func (f *Fleet) URLs(name string) []string {
	urls := make([]string, len(f.layout[name]))
	for i := range urls {
		urls[i] = f.layout.URL(name, i)
	}
	return urls
}

// Stop stops the processes, what takes work in before what works on it, and returns when none lives. It may be called again:
// all calls get the same answer. The end of ctx makes it impatient, not incomplete. A process that did not end in time and
// had to be killed is an error.
func (f *Fleet) Stop(ctx context.Context) error {
	f.once.Do(func() {
		var errs []error
		names := Names()
		for i := len(names) - 1; i >= 0; i-- {
			var group errgroup.Group
			for _, p := range f.copies[names[i]] {
				group.Go(func() error { return p.Stop(ctx) })
			}
			errs = append(errs, group.Wait())
		}
		f.stopErr = errors.Join(errs...)
	})
	return f.stopErr
}
