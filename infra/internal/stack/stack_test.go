package stack_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/pg"
	"sori.internal/infra/internal/stack/proc"
)

func TestASecondStartFindsTheData(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first := start(t, stack.Options{Dir: dir})
	write(t, first.Endpoints, "one")
	link, err := bucket(t, first.Endpoints).PresignedGetObject(testContext(t), "kept", "a/one", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, first)
	if left := workingIn(t, dir); len(left) > 0 {
		t.Errorf("processes left after stop: %v", left)
	}

	second := start(t, stack.Options{Dir: dir})
	read(t, second.Endpoints, "one")
	if second.Endpoints != first.Endpoints {
		t.Errorf("endpoints = %+v, want those of the first run %+v", second.Endpoints, first.Endpoints)
	}
	resp, err := http.Get(link.String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("presigned URL of the first run: status %d, want 200", resp.StatusCode)
	}
}

func TestAKilledParentTakesItsPartsAlong(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), parentVariable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var h hello
	if err = json.NewDecoder(out).Decode(&h); err != nil {
		t.Fatalf("parent did not get ready: %v", errors.Join(err, cmd.Wait()))
	}
	write(t, h.Endpoints, "one")
	if err = cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the error is ignored: the process was killed

	s := start(t, stack.Options{Dir: dir})
	read(t, s.Endpoints, "one")
	for _, pid := range h.PIDs {
		eventually(t, "end of an orphan", func() bool { return !alive(pid) || zombie(pid) })
	}
	if s.DatabaseURL != h.DatabaseURL {
		t.Errorf("database = %s, want the one before the kill %s", s.DatabaseURL, h.DatabaseURL)
	}
}

// zombie reports whether a process has exited and has not been reaped yet.
func zombie(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", itoa(pid)).Output()
	return err == nil && strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

func TestAHeldFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	start(t, stack.Options{Dir: dir})
	link := dir + "-link"
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, link} {
		_, err := stack.Start(testContext(t), stack.Options{Dir: d, Log: zerolog.Nop()})
		var held *proc.HeldError
		if !errors.As(err, &held) || held.PID != os.Getpid() {
			t.Errorf("start in a held folder: %v, want one that names process %d", err, os.Getpid())
		}
	}
	if err := stack.Remove(dir); err == nil {
		t.Error("a held folder was removed")
	}
}

func TestTwoFoldersDoNotTouch(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	stacks := make([]*stack.Stack, 2)
	for i := range stacks {
		dir := newDir(t)
		wg.Go(func() { stacks[i] = start(t, stack.Options{Dir: dir}) })
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	write(t, stacks[0].Endpoints, "one")
	var there bool
	err := database(t, stacks[1].DatabaseURL).QueryRowContext(testContext(t),
		"SELECT to_regclass('kept') IS NOT NULL").Scan(&there)
	if err != nil || there {
		t.Errorf("table in the other stack: %v, %v; want none", there, err)
	}
	stop(t, stacks[0])
	write(t, stacks[1].Endpoints, "two")
}

func TestADeadPartIsReportedAndComesBackWithItsData(t *testing.T) {
	t.Parallel()
	s := start(t, stack.Options{Dir: newDir(t)})
	write(t, s.Endpoints, "one")
	for _, part := range []stack.Part{stack.NATS, stack.S3, stack.Postgres} {
		if err := s.Signal(part, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-s.Exited():
			if !strings.HasPrefix(err.Error(), string(part)+" ended") {
				t.Errorf("report = %v, want the end of %s", err, part)
			}
		case <-testContext(t).Done():
			t.Fatalf("the end of %s was not reported", part)
		}
		begun := time.Now()
		if err := s.Restart(testContext(t), part); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s restarted after a kill in %v", part, time.Since(begun).Round(time.Millisecond))
	}
	read(t, s.Endpoints, "one")
	select {
	case err := <-s.Exited():
		t.Errorf("a restart was reported as an end: %v", err)
	default:
	}
}

func TestARestartOfARunningPartKeepsItsDataAndPort(t *testing.T) {
	t.Parallel()
	s := start(t, stack.Options{Dir: newDir(t)})
	write(t, s.Endpoints, "one")
	for _, part := range []stack.Part{stack.NATS, stack.S3, stack.Postgres} {
		if err := s.Restart(testContext(t), part); err != nil {
			t.Fatal(err)
		}
	}
	read(t, s.Endpoints, "one")
}

func TestAPausedPartIsStopped(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, stack.Options{Dir: dir})
	for _, part := range []stack.Part{stack.NATS, stack.S3, stack.Postgres} {
		if err := s.Signal(part, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { stop(t, s) })
	}
	wg.Wait()
	if left := workingIn(t, dir); len(left) > 0 {
		t.Errorf("processes left after stop: %v", left)
	}
	if len(s.Exited()) > 0 {
		t.Errorf("a stop was reported as an end: %v", <-s.Exited())
	}
}

func TestAPartThatIsPausedWithAllItsProcessesAnswersNobodyUntilItGoesOn(t *testing.T) {
	t.Parallel()
	s := start(t, stack.Options{Dir: newDir(t)})
	db := database(t, s.DatabaseURL)
	ctx := testContext(t)
	if _, err := db.ExecContext(ctx, "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	if err := s.PauseAll(stack.Postgres); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := db.ExecContext(ctx, "SELECT 1") // the query uses the existing connection
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("a paused database answered: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := s.ContinueAll(stack.Postgres); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestAnImpatientStopIsStillComplete(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, stack.Options{Dir: dir})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	eventually(t, "end of all processes", func() bool { return len(workingIn(t, dir)) == 0 })
	start(t, stack.Options{Dir: dir})
}

func TestATakenPortIsRefusedAndNothingStaysBehind(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", proc.Address(0))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, ports := range []stack.Ports{{NATS: port}, {S3: port}, {Postgres: port}} {
		dir := newDir(t)
		_, err := stack.Start(testContext(t), stack.Options{Dir: dir, Ports: ports, Log: zerolog.Nop(), Fast: true})
		if !errors.Is(err, proc.ErrPortTaken) {
			t.Errorf("start with %+v: %v, want %v", ports, err, proc.ErrPortTaken)
		}
		if left := workingIn(t, dir); len(left) > 0 {
			t.Errorf("processes left after a failed start: %v", left)
		}
	}
}

func TestAStartThatIsCalledOffLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	for _, after := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		s, err := stack.Start(ctx, stack.Options{Dir: dir, Log: zerolog.Nop(), Fast: true})
		cancel()
		if err == nil {
			stop(t, s) // the start was complete before the cancellation
		}
		eventually(t, "end of all processes", func() bool { return len(workingIn(t, dir)) == 0 })
	}
	write(t, start(t, stack.Options{Dir: dir}).Endpoints, "one")
}

func TestSecretsAreForTheOwnerAlone(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	start(t, stack.Options{Dir: dir})
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Dir(path) != dir {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "postgres", "password")); err == nil {
		t.Error("the password of the cluster's creation was left behind")
	}
}

func TestAMissingPostgresIsNamed(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	_, err := stack.Start(testContext(t), stack.Options{
		Dir: dir, Log: zerolog.Nop(),
		PostgresSearch: pg.Search{Path: dir, Globs: []string{}, Cache: "/dev/null/none"},
	})
	if !errors.Is(err, pg.ErrNoBinaries) {
		t.Errorf("start without postgres: %v, want %v", err, pg.ErrNoBinaries)
	}
}
