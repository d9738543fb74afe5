package harness_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/testkit"
)

// parentVariable contains the options of a fleet. If it is set, the test binary runs that fleet until it is killed.
const parentVariable = "SORI_TEST_FLEET_PARENT"

func TestMain(m *testing.M) {
	if opts := os.Getenv(parentVariable); opts != "" {
		os.Exit(parent(opts))
	}
	os.Exit(stack.Main(m))
}

// parent runs a fleet, prints the IDs of its processes and waits until it is killed.
func parent(text string) int {
	var opts harness.Options
	if err := json.Unmarshal([]byte(text), &opts); err != nil {
		return 2
	}
	f, err := harness.Start(context.Background(), opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var pids []int
	for _, name := range harness.Names() {
		for _, p := range f.Processes(name) {
			pids = append(pids, p.PID())
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(pids); err != nil {
		return 1
	}
	select {}
}

// traversable returns a temporary folder that PostgreSQL's user can traverse.
func traversable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// world starts the dependencies, builds the programs and returns the options for a fleet.
func world(t *testing.T) harness.Options {
	t.Helper()
	dir := traversable(t)
	deps, err := stack.Start(t.Context(), stack.Options{Dir: filepath.Join(dir, "stack"), Fast: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := deps.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	programs := filepath.Join(dir, "programs")
	if err := harness.Build(t.Context(), programs, harness.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	return harness.Options{Dir: filepath.Join(dir, "logs"), Programs: programs, Deps: deps.Endpoints}
}

// start starts a fleet, which stops at the end of the test.
func start(t *testing.T, opts harness.Options) *harness.Fleet {
	t.Helper()
	f, err := harness.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(f.Stop(context.Background()), f.Stop(context.Background())); err != nil {
			t.Error(err)
		}
		select {
		case err := <-f.Exited():
			t.Error(err)
		default:
		}
	})
	return f
}

func answers(t *testing.T, url string) bool {
	t.Helper()
	resp, err := http.Get(url + "/livez")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func TestAFleet(t *testing.T) {
	t.Parallel()
	opts := world(t)
	t.Run("has as many replicas as were asked for, each at an address of its own", func(t *testing.T) {
		t.Parallel()
		opts := opts
		opts.Dir = filepath.Join(t.TempDir(), "logs")
		opts.Replicas = map[string]int{harness.Uploader: 2, harness.Analyzer: 1, harness.Dispatcher: 0}
		f := start(t, opts)
		if f.Process(harness.Dispatcher, 0) != nil || f.URL(harness.Dispatcher) != "" || len(f.Processes(harness.Uploader)) != 2 {
			t.Fatal("the replicas are not those asked for")
		}
		seen := map[string]bool{}
		for _, name := range harness.Names() {
			for _, p := range f.Processes(name) {
				if seen[p.URL()] || !answers(t, p.URL()) || p.PID() == 0 {
					t.Errorf("%s at %s does not run, or not alone", p.Name(), p.URL())
				}
				seen[p.URL()] = true
			}
		}
	})
	t.Run("restarts a process with its address and changed settings", func(t *testing.T) {
		t.Parallel()
		opts := opts
		opts.Dir = filepath.Join(t.TempDir(), "logs")
		opts.Replicas = onlyReplicaOf(harness.Uploader)
		p := start(t, opts).Process(harness.Uploader, 0)
		url, pid := p.URL(), p.PID()
		p.Kill()
		if p.Running() || answers(t, url) {
			t.Fatal("the process survived its death")
		}
		if _, err := p.Usage(); !errors.Is(err, harness.ErrNotRunning) {
			t.Error(err)
		}
		p.Setenv("LOG_LEVEL", "info")
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p.PID() == pid || p.URL() != url || !answers(t, url) {
			t.Fatal("it is not back at its address")
		}
		if text, err := os.ReadFile(p.Log()); err != nil || !strings.Contains(string(text), `"level":"info"`) {
			t.Errorf("the setting had no effect: %s %v", text, err)
		}
		pid = p.PID()
		if err := p.Restart(t.Context()); err != nil || p.PID() == pid || !answers(t, url) {
			t.Errorf("restart: %v", err)
		}
	})
	t.Run("tells of an end that nobody asked for", func(t *testing.T) {
		t.Parallel()
		opts := opts
		opts.Dir = filepath.Join(t.TempDir(), "logs")
		opts.Replicas = onlyReplicaOf(harness.Analyzer)
		f := start(t, opts)
		if err := f.Process(harness.Analyzer, 0).Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := <-f.Exited(); !strings.Contains(err.Error(), "analyzer-0") {
			t.Error(err)
		}
	})
	t.Run("is not started with a program that refuses its settings", func(t *testing.T) {
		t.Parallel()
		opts := opts
		opts.Dir = filepath.Join(t.TempDir(), "logs")
		opts.Replicas = onlyReplicaOf(harness.Uploader)
		opts.Env = map[string]map[string]string{harness.All: {"UPLOAD_CONCURRENCY": "none"}}
		if _, err := harness.Start(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "UPLOAD_CONCURRENCY") {
			t.Errorf("it does not say why: %v", err)
		}
	})
	t.Run("writes profiles where it was built to", func(t *testing.T) {
		t.Parallel()
		opts := opts
		dir := t.TempDir()
		opts.Dir, opts.Programs, opts.Replicas = filepath.Join(dir, "logs"), filepath.Join(dir, "programs"), onlyReplicaOf(harness.Uploader)
		if err := harness.Build(t.Context(), opts.Programs, harness.BuildOptions{Profile: true}); err != nil {
			t.Fatal(err)
		}
		opts.Env = map[string]map[string]string{harness.Uploader: {harness.ProfileVariable: dir}}
		if err := start(t, opts).Process(harness.Uploader, 0).Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		profiles, err := filepath.Glob(filepath.Join(dir, "uploader.*.pprof"))
		if err != nil || len(profiles) != 1 {
			t.Fatalf("one process wrote the profiles %q: %v", profiles, err)
		}
		if info, err := os.Stat(profiles[0]); err != nil || info.Size() == 0 {
			t.Errorf("no profile: %v %v", info, err)
		}
	})
	t.Run("dies with the process that started it", func(t *testing.T) {
		t.Parallel()
		opts := opts
		opts.Dir = filepath.Join(t.TempDir(), "logs")
		opts.Replicas = onlyReplicaOf(harness.Uploader)
		diesWithParent(t, opts)
	})
}

// onlyReplicaOf returns Options.Replicas with one replica of the named program and none of the others.
func onlyReplicaOf(name string) map[string]int {
	replicas := map[string]int{}
	for _, n := range harness.Names() {
		replicas[n] = 0
	}
	replicas[name] = 1
	return replicas
}

func diesWithParent(t *testing.T, opts harness.Options) {
	t.Helper()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Log("only Linux binds a process to its parent")
		return
	}
	text, err := json.Marshal(opts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), parentVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	err = json.NewDecoder(out).Decode(&pids)
	if killErr := cmd.Process.Kill(); err != nil || killErr != nil || len(pids) != 1 {
		t.Fatal(err, killErr, pids)
	}
	_ = cmd.Wait() // the error is ignored: the process was killed
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for alive(pids[0]) {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("it outlived its parent")
		}
	}
}

// alive reports whether a process runs. A zombie does not.
func alive(pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && len(line) > 0
}

func TestUsageSeesMemoryAndTime(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Log("only Linux tells")
		return
	}
	before, err := harness.UsageOf(os.Getpid())
	if err != nil || before.RSS == 0 || before.PeakRSS < before.RSS/2 {
		t.Fatalf("%+v %v", before, err)
	}
	block, err := syscall.Mmap(-1, 0, 64<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := range block {
		block[i] = byte(i)
	}
	after, err := harness.UsageOf(os.Getpid())
	if err != nil || after.PeakRSS < before.RSS+48<<20 || after.CPU < before.CPU {
		t.Errorf("%+v after %+v, %v", after, before, err)
	}
	if err = syscall.Munmap(block); err != nil {
		t.Error(err)
	}
	tree, err := harness.TreeUsage(os.Getpid())
	if err != nil || tree.RSS == 0 || tree.CPU < after.CPU {
		t.Errorf("tree %+v, %v", tree, err)
	}
	if err := harness.ResetPeak(os.Getpid()); err != nil {
		t.Error(err)
	}
	if _, err := harness.UsageOf(-1); err == nil {
		t.Error("a process that does not exist was measured")
	}
}

func TestATreeContainsTheDescendantsOfItsChildren(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Log("only Linux tells")
		return
	}
	// The innermost shell has a variable of 40 MB. The command after it keeps each shell from replacing itself with
	// its child process.
	const script = `sh -c 'sh -c "x=\$(head -c 40000000 /dev/zero | tr \\\\0 a); read y"; true'; true`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	input, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, func() error {
		u, err := harness.TreeUsage(cmd.Process.Pid)
		if err == nil && u.RSS < 40_000_000 {
			err = fmt.Errorf("the tree has %d bytes", u.RSS)
		}
		return err
	})
	if err := errors.Join(input.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
}

func TestASystemWhoseProgramsCannotBeBuiltIsAnError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // ends the build
	if s, err := harness.StartSystem(ctx, harness.SystemOptions{Dir: t.TempDir()}); err == nil || s != nil {
		t.Errorf("%v, %v", s, err)
	}
}
