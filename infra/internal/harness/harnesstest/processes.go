package harnesstest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// programsVariable is the environment variable by which Main passes the folder of the built programs to the tests.
const programsVariable = "SORI_TEST_PROGRAMS"

// Main is the body of a TestMain: it builds the services once for all tests of the package, runs
// the tests, and returns the exit code.
func Main(m *testing.M) int {
	flag.Parse() //nolint:revive // a TestMain, which is a main function, calls this function
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
	// There is no test yet whose context could end the build.
	if err := harness.Build(context.Background(), dir, harness.BuildOptions{}); err != nil {
		return 0, err
	}
	if err := os.Setenv(programsVariable, dir); err != nil {
		return 0, err
	}
	return stack.Main(m), nil
}

// SystemOptions are the settings of a System. By default each program has one replica and each dependency one server.
type SystemOptions struct {
	Replicas  map[string]int    // replicas by program (harness.Options.Replicas)
	Settings  map[string]string // settings of all services
	NATSNodes int               // see stack.Options
	Patience  time.Duration     // limit for the whole test
}

// System is a complete installation as processes, with a checker of its invariants and of its health.
type System struct {
	*harness.System
	Ctx     context.Context //nolint:containedctx // the test's context, limited by Patience
	Checker invariants.Checker

	t      *testing.T
	health *healthWatch
}

// StartSystem starts Sori with a separate stack of dependencies, so that a test can stop them without an
// effect on other tests. The System stops at the end of the test. Until then it polls the health routes of
// all services, and the test fails if /livez of a service reports a failure.
func StartSystem(t *testing.T, o SystemOptions) *System {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), o.Patience)
	t.Cleanup(cancel)
	settings := map[string]string{"JOBS_MAX_BYTES": "67108864", "STAGING_MAX_BYTES": "268435456"}
	maps.Copy(settings, o.Settings)
	sut := &harness.System{Stack: StartStack(ctx, t, o.NATSNodes)}
	s := &System{System: sut, Ctx: ctx, t: t}
	s.startFleet(harness.Options{
		Programs: os.Getenv(programsVariable), Deps: s.Stack.Endpoints, Replicas: o.Replicas,
		Env: map[string]map[string]string{
			harness.All: settings,
			// The faults of the analysis server are not under test, so it repeats a callback until it succeeds.
			harness.Analyzer: {
				"BEHAVIOUR_INSTANT": "true", "BEHAVIOUR_DELAY": "500ms",
				"WEBHOOK_ATTEMPTS": "1000", "WEBHOOK_MAX_BACKOFF": "2s",
			},
		},
	})
	var err error
	if s.Checker, err = invariants.Open(harness.Connections(s.Stack.Endpoints, settings)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Checker.Close() })
	s.createToken()
	s.health = watchHealth(s)
	return s
}

// StartProcesses starts Sori as processes on the dependencies of the test kit. They stop at the end of the test.
func StartProcesses(ctx context.Context, t *testing.T, k *testkit.Kit, copies map[string]int, env map[string]string) *System {
	t.Helper()
	database := k.Database()
	s := &System{System: &harness.System{}, Ctx: ctx, t: t}
	s.Checker = invariants.Checker{
		Bus:       k.Bus("test", event.Jobs(), event.Dead(), event.Staging()),
		JetStream: k.JetStream(), Namespace: k.Namespace(),
	}
	s.Checker.S3, s.Checker.Bucket = k.Bucket()
	programs := filepath.Join(t.TempDir(), "bin")
	if err := harness.Build(t.Context(), programs, harness.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	all := k.Settings(env)
	for _, own := range []string{"HTTP_ADDR", "WEBHOOK_SECRET", "PRINCIPAL_SECRET"} { // the harness sets these
		delete(all, own)
	}
	s.startFleet(harness.Options{
		Programs: programs, Replicas: copies, Env: map[string]map[string]string{harness.All: all}, Pooled: os.Getenv(testkit.EnvPooler) != "",
	})
	db, err := sqlx.Open("postgres", database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s.Checker.DB = db
	s.createToken()
	return s
}

// StartStack starts only the dependencies, which stop at the end of the test.
func StartStack(ctx context.Context, t *testing.T, natsNodes int) *stack.Stack {
	t.Helper()
	root, err := harness.TempDir("", "harnesstest-")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "state")
	if err = harness.PrepareStack(ctx, dir); err != nil {
		t.Fatal(errors.Join(err, os.RemoveAll(root)))
	}
	s, err := stack.Start(ctx, stack.Options{
		Dir: dir, NATSNodes: natsNodes, Fast: true, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(errors.Join(err, os.RemoveAll(root)))
	}
	t.Cleanup(func() {
		stopping, cancel := context.WithTimeout(context.Background(), time.Minute) // the context of the test has ended
		defer cancel()
		if err := errors.Join(s.Stop(stopping), stack.Remove(dir), os.RemoveAll(root)); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *System) startFleet(o harness.Options) {
	s.t.Helper()
	o.Dir = s.t.TempDir()
	f, err := harness.Start(s.Ctx, o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Fleet = f
	s.t.Cleanup(func() {
		stopping, cancel := context.WithTimeout(context.Background(), time.Minute) // the context of the test has ended
		defer cancel()
		if err := f.Stop(stopping); err != nil {
			s.t.Error(err)
		}
		if s.t.Failed() {
			s.showLogs()
		}
	})
}

// showLogs writes the end of each service's log to the test's log.
func (s *System) showLogs() {
	const most = 4000
	for _, p := range s.All() {
		text, _ := os.ReadFile(p.Log())
		s.t.Logf("%s logged %d bytes, at last:\n%s", p.Name(), len(text), text[max(0, len(text)-most):])
	}
}

// All returns the processes of all services.
func (s *System) All() (all []*harness.Process) {
	for _, name := range harness.Services() {
		all = append(all, s.Processes(name)...)
	}
	return all
}

// createToken creates the token 1, to which the load generators upload.
func (s *System) createToken() {
	s.t.Helper()
	if _, err := (&client.Client{Base: s.URL(harness.Gateway)}).CreateToken(s.Ctx, ""); err != nil {
		s.t.Fatal(err)
	}
}

// Gateways returns the URLs of all gateways.
func (s *System) Gateways() []string { return s.URLs(harness.Gateway) }

// Load starts a steady load of uploads and viewers. The test fails if an upload or a viewer fails.
func (s *System) Load() *loadgen.Steady {
	ctx, cancel := context.WithCancel(s.Ctx)
	g := loadgen.StartSteady(ctx, s.Gateways(), func(err error) { s.t.Error(err) })
	s.t.Cleanup(func() {
		cancel()
		g.Stop()
		g.AwaitViewers()
	})
	return g
}
