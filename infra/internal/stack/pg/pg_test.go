package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/proc"
)

func TestMain(m *testing.M) {
	if ran, code := proc.RunRole(map[string]proc.Role{FetchRole: RunFetchRole}); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// openDir returns a temporary folder that other users can traverse, unlike that of t.TempDir.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg-") //nolint:usetesting // PostgreSQL's user must be able to traverse it
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func options(t *testing.T, dir string) Options {
	t.Helper()
	return Options{
		Dir: dir, AdminPassword: "quote ' and \\ in it", OwnerPassword: "another %40", Fast: true,
		Log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel),
	}
}

func start(t *testing.T, opts Options) *Server {
	t.Helper()
	srv, err := Start(testContext(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, srv) })
	return srv
}

func stop(t *testing.T, srv *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := srv.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// show returns a setting of the server.
func show(t *testing.T, dsn, setting string) string {
	t.Helper()
	db, err := open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var value string
	if err = db.QueryRowContext(testContext(t), "SELECT current_setting($1)", setting).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestSettings(t *testing.T) {
	t.Parallel()
	opts := options(t, openDir(t))
	opts.Fast = false
	srv := start(t, opts)
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "300",
		"shared_buffers": "128MB", "server_encoding": "UTF8", "is_superuser": "on",
	} {
		if got := show(t, srv.AdminURL(), setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
	if got := show(t, srv.URL(), "is_superuser"); got != "off" {
		t.Errorf("the owner's is_superuser = %q, want off", got)
	}
}

func TestAKilledServerForTestsLeavesNoSharedMemory(t *testing.T) {
	t.Parallel()
	srv := start(t, options(t, openDir(t)))
	if got := show(t, srv.AdminURL(), "dynamic_shared_memory_type"); got != "mmap" {
		t.Errorf("dynamic_shared_memory_type = %q: the segments are outside of the cluster's folder", got)
	}
}

func TestTheOwnerMayCreateSchemasAndTheAdminDatabases(t *testing.T) {
	t.Parallel()
	srv := start(t, options(t, openDir(t)))
	for dsn, statement := range map[string]string{
		srv.URL():      "CREATE SCHEMA tracker",
		srv.AdminURL(): "CREATE DATABASE another OWNER sori",
	} {
		db, err := open(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = db.ExecContext(testContext(t), statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
		_ = db.Close()
	}
}

func TestAnotherPasswordIsRefused(t *testing.T) {
	t.Parallel()
	opts := options(t, openDir(t))
	stop(t, start(t, opts))
	opts.AdminPassword = "forgotten"
	if _, err := Start(testContext(t), opts); !errors.Is(err, errPassword) {
		t.Errorf("start with another password: %v, want %v", err, errPassword)
	}
}

func TestALeftoverServerIsEnded(t *testing.T) {
	t.Parallel()
	opts := options(t, openDir(t))
	old := start(t, opts)
	if err := old.proc.Signal(syscall.SIGSTOP); err != nil { // a paused server must be ended, too
		t.Fatal(err)
	}
	fresh := start(t, opts)
	select {
	case <-old.Done():
	case <-testContext(t).Done():
		t.Fatal("the old server still runs")
	}
	show(t, fresh.URL(), "port")
}

func TestAStrangersNumberInTheLockFileIsNoObstacle(t *testing.T) {
	t.Parallel()
	opts := options(t, openDir(t))
	srv := start(t, opts)
	data, user := srv.place.data(), srv.place.user
	stop(t, srv)
	// The other process runs as the server's user. PostgreSQL would take it for a running server, because
	// its PID is in postmaster.pid.
	stranger, err := proc.Start(proc.Spec{Name: "stranger", Path: "/bin/cat", Args: []string{"/dev/zero"}, Dir: "/", User: user})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Stop(t.Context())
	text := fmt.Sprintf("%d\n%s\n", stranger.PID(), data)
	path := filepath.Join(data, pidFile)
	if err = (place{user: user}).hand(path, strings.TrimSuffix(text, "\n")); err != nil {
		t.Fatal(err)
	}
	show(t, start(t, opts).URL(), "port")
	if stranger.Err() != nil {
		t.Errorf("the stranger was ended: %v", stranger.Err())
	}
}

func TestOnlyAServerOnThisFolderCountsAsLeftover(t *testing.T) {
	t.Parallel()
	const data = "/state/postgres/data"
	for _, tc := range []struct {
		args []string
		want bool
	}{
		{[]string{"/usr/bin/postgres", "-D", data, "-c", "port=1"}, true},
		{[]string{"postmaster", "-D", data}, true},
		{[]string{"/usr/bin/postgres", "-D", data + "2"}, false},
		{[]string{"/usr/bin/postgres", "-D"}, false},
		{[]string{"/bin/vi", "-D", data}, false},
		{nil, false},
	} {
		if got := names(tc.args, data); got != tc.want {
			t.Errorf("names(%q) = %v, want %v", tc.args, got, tc.want)
		}
	}
	if serves(os.Getpid(), data) {
		t.Error("this test counts as a server")
	}
}

func TestAnUnreachableFolderIsServedFromAShelter(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another user")
	}
	dir := t.TempDir() // only the owner can traverse this folder
	opts := options(t, dir)
	opts.Log = zerolog.Nop()
	opts.FallbackDir = openDir(t)
	first := start(t, opts)
	if !strings.HasPrefix(first.place.folder, opts.FallbackDir) {
		t.Fatalf("cluster in %s, want it below %s", first.place.folder, opts.FallbackDir)
	}
	if at, err := Location(dir); err != nil || at != first.place.folder {
		t.Errorf("location = %q, %v; want %q", at, err, first.place.folder)
	}
	_, err := Start(testContext(t), opts)
	if held := new(proc.HeldError); !errors.As(err, &held) {
		t.Errorf("second start in a fallback folder in use: %v, want it refused", err)
	}
	identity := show(t, first.AdminURL(), "data_directory")
	stop(t, first)
	if again := show(t, start(t, opts).AdminURL(), "data_directory"); again != identity {
		t.Errorf("second start uses %s, want %s", again, identity)
	}
}

func TestASquattersShelterIsRefused(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a folder that belongs to somebody else")
	}
	path := filepath.Join(openDir(t), "sori-x")
	if err := createOwned(path); err != nil {
		t.Fatal(err)
	}
	if err := createOwned(path); err != nil {
		t.Errorf("our own folder is refused: %v", err)
	}
	if err := os.Chown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := createOwned(path); err == nil {
		t.Error("a folder of another user was accepted")
	}
	link := path + "-link"
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if err := createOwned(link); err == nil {
		t.Error("a link was accepted")
	}
}

func TestAClusterOfAnotherVersionIsNamed(t *testing.T) {
	t.Parallel()
	opts := options(t, openDir(t))
	srv := start(t, opts)
	version := filepath.Join(srv.place.data(), "PG_VERSION")
	stop(t, srv)
	if err := os.WriteFile(version, []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(testContext(t), opts)
	if err == nil || !strings.Contains(err.Error(), "was made by PostgreSQL 9") {
		t.Errorf("start with the wrong version: %v", err)
	}
}

func TestAnInterruptedCreationIsRepeated(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	rest := filepath.Join(dir, folderName, dataName+".new")
	if err := os.MkdirAll(rest, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rest, "PG_VERSION"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	srv := start(t, options(t, dir))
	if _, err := strconv.Atoi(show(t, srv.URL(), "port")); err != nil {
		t.Error(err)
	}
}
