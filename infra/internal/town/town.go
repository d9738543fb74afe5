// Package town runs all of Sori as processes of their own, with dependencies of
// their own, for tests that take from it what it stands on: nobody else is
// disturbed. What such a test then holds is here too.
package town

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/audit"
	"sori.internal/infra/internal/crowd"
	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/stack"
)

// programsVariable names the folder with the services to the tests.
const programsVariable = "SORI_TEST_PROGRAMS"

// Main is a TestMain's whole work: it builds the services once for all tests of
// the package, runs them, and returns the code to exit with.
func Main(m *testing.M) int {
	flag.Parse() //nolint:revive // for a TestMain, which is a main
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "sori-programs-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := fleet.Build(context.Background(), dir, fleet.BuildOptions{}); err != nil {
		return 0, err
	}
	if err := os.Setenv(programsVariable, dir); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// Options are what differs from one copy of everything, on single servers.
type Options struct {
	Copies    map[string]int    // as in a fleet
	Settings  map[string]string // of all services
	NATSNodes int               // as in a stack
	Patience  time.Duration     // bounds the whole test
}

// Town is all of Sori as processes, with dependencies of its own.
type Town struct {
	Ctx   context.Context //nolint:containedctx // the test's, with its patience
	Stack *stack.Stack
	Fleet *fleet.Fleet
	Books audit.Books

	t     *testing.T
	watch *watch
}

// Found starts a town, which ends with its test. From then on all services are
// asked for their health, and the test fails where one does not live.
func Found(t *testing.T, o Options) *Town {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), o.Patience)
	t.Cleanup(cancel)
	settings := map[string]string{"JOBS_MAX_BYTES": "67108864", "STAGING_MAX_BYTES": "268435456"}
	maps.Copy(settings, o.Settings)
	c := &Town{t: t, Ctx: ctx, Stack: StartStack(ctx, t, o.NATSNodes)}
	c.startFleet(o.Copies, settings)
	c.openBooks(settings)
	c.makeToken()
	c.watch = observe(c)
	return c
}

// StartStack starts the dependencies alone, which end with the test.
func StartStack(ctx context.Context, t *testing.T, natsNodes int) *stack.Stack {
	t.Helper()
	root, err := os.MkdirTemp("", "town-") //nolint:usetesting // PostgreSQL's user must be able to pass through
	if err == nil {
		err = os.Chmod(root, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "state")
	s, err := stack.Start(ctx, stack.Options{
		Dir: dir, NATSNodes: natsNodes, Fast: true, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(errors.Join(err, os.RemoveAll(root)))
	}
	t.Cleanup(func() {
		for _, part := range s.Parts() { // one that a failed test left paused could not be stopped
			_ = s.SignalAll(part, syscall.SIGCONT)
		}
		stopping, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(s.Stop(stopping), stack.Remove(dir), os.RemoveAll(root)); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (c *Town) startFleet(copies map[string]int, settings map[string]string) {
	c.t.Helper()
	f, err := fleet.Start(c.Ctx, fleet.Options{
		Dir: c.t.TempDir(), Programs: os.Getenv(programsVariable), Deps: c.Stack.Endpoints, Copies: copies,
		Env: map[string]map[string]string{
			fleet.All: settings,
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
	c.Fleet = f
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

// Services are the programs whose conduct is tried.
func Services() []string {
	return []string{fleet.Gateway, fleet.Uploader, fleet.Dispatcher, fleet.Tracker}
}

// showLogs shows the ends of the services' logs.
func (c *Town) showLogs() {
	const most = 4000
	for _, name := range Services() {
		for _, p := range c.Fleet.Processes(name) {
			text, _ := os.ReadFile(p.Log())
			c.t.Logf("%s logged %d bytes, at last:\n%s", p.Name(), len(text), text[max(0, len(text)-most):])
		}
	}
}

func (c *Town) openBooks(settings map[string]string) {
	c.t.Helper()
	books, closeBooks, err := audit.Open(c.Stack.Endpoints, settings)
	if err != nil {
		c.t.Fatal(err)
	}
	c.Books = books
	c.t.Cleanup(func() { _ = closeBooks() })
}

// makeToken makes the token 1, to which crowds upload.
func (c *Town) makeToken() {
	c.t.Helper()
	resp, err := http.Post(c.Fleet.URL(fleet.Gateway)+"/tokens/", "application/json",
		strings.NewReader(`{"token_name":"sample","actor_name":"sori","start_time":0,"end_time":10}`))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		c.t.Fatalf("status %s", resp.Status)
	}
}

// Gateways are the URLs of all gateways.
func (c *Town) Gateways() []string {
	var urls []string
	for _, p := range c.Fleet.Processes(fleet.Gateway) {
		urls = append(urls, p.URL())
	}
	return urls
}

// Gather has a crowd upload and watch. The test fails where it complains.
func (c *Town) Gather() *crowd.Crowd {
	ctx, cancel := context.WithCancel(c.Ctx)
	g := crowd.Gather(ctx, c.Gateways(), func(err error) { c.t.Error(err) })
	c.t.Cleanup(func() {
		cancel()
		g.Disperse()
		g.AwaitViewers()
	})
	return g
}
