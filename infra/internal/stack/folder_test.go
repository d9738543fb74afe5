package stack_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/pg"
	"sori.internal/infra/internal/stack/proc"
)

// attempt starts a stack that finds no PostgreSQL and therefore fails, after it has opened its folder.
func attempt(t *testing.T, dir string) error {
	t.Helper()
	_, err := stack.Start(testContext(t), stack.Options{
		Dir: dir, Log: zerolog.Nop(), PostgresSearch: pg.Search{Path: t.TempDir(), Globs: []string{}, Cache: "/dev/null/none"},
	})
	if err == nil {
		t.Fatal("a stack without PostgreSQL has started")
	}
	return err
}

func makeDir(t *testing.T) string {
	t.Helper()
	dir := newDir(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Other credentials would be useless, because the servers accept only those of their data.
func TestDamagedCredentialsAreReportedAndKept(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"not JSON": "{", "empty": ""} {
		dir := makeDir(t)
		path := filepath.Join(dir, "secrets.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := attempt(t, dir); !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error that names %s", name, err, path)
		}
		if kept, err := os.ReadFile(path); err != nil || string(kept) != text {
			t.Errorf("%s: the file is %q, %v after the start", name, kept, err)
		}
		if err := stack.Remove(dir); err != nil {
			t.Errorf("%s: the folder is still in use: %v", name, err)
		}
	}
	dir := makeDir(t)
	if err := os.Mkdir(filepath.Join(dir, "secrets.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := attempt(t, dir); !strings.Contains(err.Error(), "read secrets") {
		t.Errorf("a folder for the file: %v", err)
	}
}

// A folder of a time before NATS had users has no password for them.
func TestAnOldFolderGetsAPasswordForNATSAndKeepsTheOthers(t *testing.T) {
	t.Parallel()
	dir := makeDir(t)
	path := filepath.Join(dir, "secrets.json")
	old := map[string]string{"s3_access_key": "a", "s3_secret_key": "b", "postgres_admin": "c", "postgres_owner": "d"}
	text, err := json.Marshal(old)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	read := func() (keys map[string]string) {
		_ = attempt(t, dir)
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &keys)
		}
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	first := read()
	for name, value := range old {
		if first[name] != value {
			t.Errorf("%s = %q, want %q", name, first[name], value)
		}
	}
	if again := read(); first["nats_admin"] == "" || again["nats_admin"] != first["nats_admin"] {
		t.Errorf("password for NATS: first %q, then %q", first["nats_admin"], again["nats_admin"])
	}
}

func TestAFileForTheStateFolderIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := attempt(t, path); !strings.Contains(err.Error(), "state folder") {
		t.Errorf("start in a file: %v", err)
	}
	if kept, err := os.ReadFile(path); err != nil || string(kept) != "precious" {
		t.Errorf("the file is %q, %v after the start", kept, err)
	}
}

func TestRemoveTakesTheClusterInAnotherFolderAlong(t *testing.T) {
	t.Parallel()
	dir, elsewhere := makeDir(t), filepath.Join(t.TempDir(), "sori-x")
	if err := os.MkdirAll(filepath.Join(elsewhere, "postgres", "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	location := filepath.Join(elsewhere, "postgres") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "postgres.location"), []byte(location), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to remove
		if err := stack.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{dir, elsewhere} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

// run is the run of a package's tests, for stack.Main.
type run func() int

func (r run) Run() int { return r() }

// Without the local runner, `go test` of a package builds the program for the parts of its stacks.
func TestMainBuildsTheProgramForThePartsOnce(t *testing.T) { //nolint:paralleltest // it sets variables of the whole process
	t.Setenv(proc.ProgramVariable, "")
	var built string
	code := stack.Main(run(func() int {
		built = os.Getenv(proc.ProgramVariable)
		srv := startNATS(t, proc.Port{}, stack.NATSSettings{Dir: t.TempDir()})
		if err := srv.Stop(testContext(t)); err != nil {
			t.Error(err)
		}
		return stack.Main(run(func() int { // in this one, the variable is set
			if again := os.Getenv(proc.ProgramVariable); again != built {
				t.Errorf("the program is built again: %s after %s", again, built)
			}
			return 7
		}))
	}))
	if code != 7 {
		t.Errorf("exit code %d, want that of the tests", code)
	}
	if _, err := os.Stat(built); built == "" || !os.IsNotExist(err) {
		t.Errorf("the program %q after the tests: %v", built, err)
	}
}

func TestMainFailsIfTheProgramCannotBeBuilt(t *testing.T) { //nolint:paralleltest // it sets variables of the whole process
	for name, value := range map[string]string{"PATH": "/nowhere", "TMPDIR": "/nowhere"} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // as above
			t.Setenv(proc.ProgramVariable, "")
			t.Setenv(name, value)
			code := stack.Main(run(func() int { t.Error("the tests run without the program"); return 0 }))
			if code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
		})
	}
}
