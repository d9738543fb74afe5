package harness_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
)

// The tests of six packages run the same programs. With `go run ./infra/local test` they
// are built once.
func TestProgramsAreBuiltOnceForAllTests(t *testing.T) {
	t.Parallel()
	if os.Getenv(harness.SharedVariable) == "" {
		t.Fatalf("%s is not set: run the tests with `go run ./infra/local test`", harness.SharedVariable)
	}
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two, two} { // the last build is into a folder that already contains programs
		if err := harness.Build(t.Context(), dir, harness.BuildOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range harness.Names() {
		a, errA := os.Stat(filepath.Join(one, name))
		b, errB := os.Stat(filepath.Join(two, name))
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(a, b) || a.Mode()&0o100 == 0 {
			t.Errorf("%s is built twice, or cannot be run: %v", name, a.Mode())
		}
	}
}

// The S3 server once took more than a core without any request, so that all that ran beside it was slow.
func TestDependenciesTakeNoTimeOfTheProcessorWithoutRequests(t *testing.T) {
	t.Parallel()
	const window = 2 * time.Second
	deps, err := stack.Start(t.Context(), stack.Options{Dir: traversable(t), Fast: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := deps.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	usage := func(part stack.Part) harness.Usage {
		t.Helper()
		u, err := harness.TreeUsage(deps.PID(part))
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	before := map[stack.Part]time.Duration{}
	for _, part := range deps.Parts() {
		before[part] = usage(part).CPU
	}
	<-time.After(window)
	for _, part := range deps.Parts() {
		if took := usage(part).CPU - before[part]; took > window/10 {
			t.Errorf("%s took %s of the processor in %s", part, took, window)
		}
	}
}

func TestPreparedStacksHaveNothingInCommonButTheirPasswords(t *testing.T) {
	t.Parallel()
	if os.Getenv(harness.SharedVariable) == "" {
		t.Fatalf("%s is not set: run the tests with `go run ./infra/local test`", harness.SharedVariable)
	}
	root := traversable(t)
	for i := range 2 {
		dir := filepath.Join(root, strconv.Itoa(i))
		if err := harness.PrepareStack(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		// PrepareStack copies a shared state. That does not exist if PostgreSQL's user cannot enter the folder for
		// temporary files.
		_, missing := os.Stat(filepath.Join(os.Getenv(harness.SharedVariable), "stack", "state"))
		_, err := os.Stat(filepath.Join(dir, "postgres", "data", "PG_VERSION"))
		if (missing == nil) != (err == nil) {
			t.Errorf("the original: %v, the copy: %v", missing, err)
		}
		deps, err := stack.Start(t.Context(), stack.Options{Dir: dir, Fast: true, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(deps.Stop(context.Background()), stack.Remove(dir)); err != nil {
				t.Error(err)
			}
		})
		db, err := sqlx.Open("postgres", deps.DatabaseURL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		if _, err := db.ExecContext(t.Context(), `CREATE TABLE mine (i int)`); err != nil { // the other stack has a table of the same name
			t.Error(err)
		}
	}
}
