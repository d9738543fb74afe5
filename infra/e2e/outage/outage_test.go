// Package outage_test takes from Sori what it stands on, NATS, S3 and Postgres,
// one at a time and together, while clients upload and viewers watch. Each test
// has dependencies and processes of its own, so that it disturbs nobody.
package outage_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/audit"
	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/objectstore"
)

// pauseFor is how long a dependency stands still: -pause=60s tries what the
// default leaves out, connections that are given up meanwhile.
var pauseFor = flag.Duration("pause", 6*time.Second, "how long a paused dependency stands still")

// programs is the folder with the services, built once for all tests.
var programs string

func TestMain(m *testing.M) {
	if ran, code := stack.RunChild(); ran {
		os.Exit(code)
	}
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "outage-programs-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := fleet.Build(context.Background(), dir, fleet.BuildOptions{}); err != nil {
		return 0, err
	}
	programs = dir
	return m.Run(), nil
}

// patience bounds a whole test.
const patience = 3 * time.Minute

// town is all of Sori as processes, with dependencies of its own.
type town struct {
	t     *testing.T
	ctx   context.Context
	stack *stack.Stack
	fleet *fleet.Fleet
	books audit.Books
	watch *watch
}

// found starts a town whose services differ from the default by env.
func found(t *testing.T, copies map[string]int, env map[string]string) *town {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience+4**pauseFor)
	t.Cleanup(cancel)
	c := &town{t: t, ctx: ctx, stack: newStack(ctx, t)}
	c.startFleet(copies, env)
	c.openBooks(env)
	c.makeToken()
	c.watch = observe(c)
	return c
}

func newStack(ctx context.Context, t *testing.T) *stack.Stack {
	t.Helper()
	root, err := os.MkdirTemp("", "outage-") //nolint:usetesting // PostgreSQL's user must be able to pass through
	if err == nil {
		err = os.Chmod(root, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "state")
	s, err := stack.Start(ctx, stack.Options{Dir: dir, NATSChild: true, Fast: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(errors.Join(err, os.RemoveAll(root)))
	}
	t.Cleanup(func() {
		for _, part := range parts() { // one that a failed test left paused could not be stopped
			_ = s.SignalAll(part, cont)
		}
		stopping, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(s.Stop(stopping), stack.Remove(dir), os.RemoveAll(root)); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (c *town) startFleet(copies map[string]int, env map[string]string) {
	c.t.Helper()
	dir := c.t.TempDir()
	all := map[string]string{"JOBS_MAX_BYTES": "67108864", "STAGING_MAX_BYTES": "268435456"}
	for name, value := range env {
		all[name] = value
	}
	f, err := fleet.Start(c.ctx, fleet.Options{
		Dir: dir, Programs: programs, Deps: c.stack.Endpoints, Copies: copies,
		Env: map[string]map[string]string{
			fleet.All: all,
			// What the analysis server does about its own troubles is not ours to try.
			fleet.Analyzer: {
				"BEHAVIOUR_INSTANT": "true", "BEHAVIOUR_DELAY": "500ms",
				"WEBHOOK_ATTEMPTS": "1000", "WEBHOOK_MAX_BACKOFF": "2s",
			},
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.fleet = f
	c.t.Cleanup(func() {
		stopping, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := f.Stop(stopping); err != nil {
			c.t.Error(err)
		}
		if c.t.Failed() {
			c.showLogs()
		}
	})
}

// services are the programs whose conduct is tried.
func services() []string {
	return []string{fleet.Gateway, fleet.Uploader, fleet.Dispatcher, fleet.Tracker}
}

// showLogs shows the ends of the services' logs.
func (c *town) showLogs() {
	const most = 4000
	for _, name := range services() {
		for _, p := range c.fleet.Processes(name) {
			text, _ := os.ReadFile(p.Log())
			c.t.Logf("%s logged %d bytes, at last:\n%s", p.Name(), len(text), text[max(0, len(text)-most):])
		}
	}
}

func (c *town) openBooks(env map[string]string) {
	c.t.Helper()
	e := c.stack.Endpoints
	vars := map[string]string{
		"NATS_URL": e.NATSURL, "JOBS_MAX_BYTES": "67108864", "STAGING_MAX_BYTES": "268435456",
		"AWS_ACCESS_KEY_ID": e.S3AccessKey, "AWS_SECRET_ACCESS_KEY": e.S3SecretKey, "AWS_REGION": e.S3Region,
		"S3_ENDPOINT": e.S3Endpoint, "S3_BUCKET_NAME": fleet.Bucket,
	}
	for name, value := range env {
		vars[name] = value
	}
	var cfg struct {
		Bus     bus.Config
		Objects objectstore.Config
	}
	err := config.Load(config.Map(vars), &cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.books = audit.Books{Bucket: fleet.Bucket}
	if c.books.Bus, err = bus.Open(cfg.Bus, "test", zerolog.Nop()); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = c.books.Bus.Close() })
	nc, err := nats.Connect(e.NATSURL, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	if c.books.JetStream, err = jetstream.New(nc); err != nil {
		c.t.Fatal(err)
	}
	if c.books.S3, err = objectstore.Open(cfg.Objects); err != nil {
		c.t.Fatal(err)
	}
	if c.books.DB, err = sqlx.Open("postgres", e.DatabaseURL); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = c.books.DB.Close() })
}

func (c *town) makeToken() {
	c.t.Helper()
	resp, err := http.Post(c.fleet.URL(fleet.Gateway)+"/tokens/", "application/json",
		strings.NewReader(`{"token_name":"sample","actor_name":"sori","start_time":0,"end_time":10}`))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		c.t.Fatalf("status %s", resp.Status)
	}
}

// checkJobs waits for the end of all jobs and holds what must be true then.
func (c *town) checkJobs(jobs []string) {
	c.t.Helper()
	c.t.Logf("%d jobs were accepted", len(jobs))
	rows, err := c.books.AwaitEnds(c.ctx, jobs)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, job := range jobs {
		if rows[job].Status != "completed" {
			c.t.Errorf("job %s is %s", job, rows[job].Status)
		}
	}
	if err := c.books.Check(c.ctx, jobs, rows); err != nil {
		c.t.Error(err)
	}
}

// The bounds of what an outage may cost a service.
const (
	maxRSS = 200 << 20
	maxLog = 512 << 10
)

// checkProcesses holds that no process ended, grew or flooded its log.
func (c *town) checkProcesses() {
	c.t.Helper()
	select {
	case err := <-c.fleet.Exited():
		c.t.Error(err)
	default:
	}
	for _, name := range services() {
		for _, p := range c.fleet.Processes(name) {
			u, err := p.Usage()
			if err != nil {
				c.t.Error(err)
				continue
			}
			if u.PeakRSS > maxRSS {
				c.t.Errorf("%s grew to %d MiB", p.Name(), u.PeakRSS>>20)
			}
			info, err := os.Stat(p.Log())
			if err != nil {
				c.t.Error(err)
			} else if info.Size() > maxLog {
				c.t.Errorf("%s logged %d bytes", p.Name(), info.Size())
			}
			c.t.Logf("%s: peak %d MiB, log %d bytes, CPU %v", p.Name(), u.PeakRSS>>20, info.Size(), u.CPU)
		}
	}
}
