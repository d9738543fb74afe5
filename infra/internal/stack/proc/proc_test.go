package proc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/proc"
)

func TestMain(m *testing.M) {
	_ = os.Unsetenv(proc.ProgramVariable) // the roles must run in this test binary
	ran, code := proc.RunRole(map[string]proc.Role{
		"serve": func(ctx context.Context, config json.RawMessage, ready func()) error {
			fmt.Println("configured with", string(config))
			ready()
			<-ctx.Done()
			return nil
		},
		"fail":  func(context.Context, json.RawMessage, func()) error { return errors.New("out of luck") },
		"crash": func(context.Context, json.RawMessage, func()) error { panic("crash") },
		"hang":  func(context.Context, json.RawMessage, func()) error { select {} },
		"nested": func(_ context.Context, _ json.RawMessage, _ func()) error {
			if err := os.Setenv("SORI_STACK_CHILD", "serve"); err != nil {
				return err
			}
			_, err := proc.StartPart(context.Background(), "serve", nil, zerolog.Nop())
			if !errors.Is(err, proc.ErrNotHooked) {
				return fmt.Errorf("a child that was not hooked started another: %w", err)
			}
			return nil
		},
	})
	if ran {
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

func shell(t *testing.T, script string) *proc.Process {
	t.Helper()
	p, err := proc.Start(proc.Spec{Name: "script", Path: "/bin/sh", Args: []string{"-c", script}, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(context.WithoutCancel(t.Context())) })
	return p
}

// readiness is a log writer that closes seen at the line "ready".
type readiness struct {
	once sync.Once
	seen chan struct{}
}

func (r *readiness) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(`"line":"ready"`)) {
		r.once.Do(func() { close(r.seen) })
	}
	return len(b), nil
}

// readyShell starts a script and returns when it has printed "ready", after it has set its traps.
func readyShell(t *testing.T, script string) *proc.Process {
	t.Helper()
	r := &readiness{seen: make(chan struct{})}
	p, err := proc.Start(proc.Spec{Name: "script", Path: "/bin/sh", Args: []string{"-c", script}, Log: zerolog.New(r)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(context.WithoutCancel(t.Context())) })
	select {
	case <-r.seen:
	case <-testContext(t).Done():
		t.Fatal("the script does not get ready")
	}
	return p
}

func wait(t *testing.T, p *proc.Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-testContext(t).Done():
		t.Fatal("the process does not end")
	}
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestTheEndIsExplainedByTheLastLines(t *testing.T) {
	t.Parallel()
	p := shell(t, "for i in 1 2 3 4 5 6 7 8; do echo line $i; done; printf unfinished >&2; exit 3")
	wait(t, p)
	got := p.Err().Error()
	if !strings.HasPrefix(got, "script: exit status 3: line 3 | ") || !strings.HasSuffix(got, "line 8 | unfinished") {
		t.Errorf("end = %q", got)
	}
}

func TestAnEndWithoutAFailureIsAnEndToo(t *testing.T) {
	t.Parallel()
	p := shell(t, "exit 0")
	wait(t, p)
	if !errors.Is(p.Err(), proc.ErrExited) {
		t.Errorf("end = %v, want %v", p.Err(), proc.ErrExited)
	}
}

func TestOverlongLinesAreCut(t *testing.T) {
	t.Parallel()
	p := shell(t, "head -c 20000 /dev/zero | tr '\\0' x; exit 1")
	wait(t, p)
	if n := len(p.Err().Error()); n < 8192 || n > 6*4200 {
		t.Errorf("kept %d bytes of one long line", n)
	}
}

func TestStopTakesItsStepsInOrder(t *testing.T) {
	t.Parallel()
	p := readyShell(t, "trap '' INT; trap 'echo asked; exit 7' TERM; echo ready; while :; do :; done")
	p.Stop(testContext(t), proc.Step{Signal: syscall.SIGINT, Grace: 50 * time.Millisecond},
		proc.Step{Signal: syscall.SIGTERM, Grace: 20 * time.Second})
	if !gone(p.PID()) {
		t.Error("the process lives after stop")
	}
	if got := p.Err().Error(); got != "script: exit status 7: ready | asked" {
		t.Errorf("end = %q, want that of the second step", got)
	}
	p.Stop(testContext(t)) // a second Stop does nothing
}

func TestStopKillsTheGroupOfADeafProcess(t *testing.T) {
	t.Parallel()
	p := readyShell(t, "trap '' INT TERM; echo ready; cat /dev/zero >/dev/null & wait; wait")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Stop must not wait for the grace period
	p.Stop(ctx, proc.Step{Signal: syscall.SIGTERM, Grace: time.Hour})
	if !gone(p.PID()) {
		t.Error("the process lives after stop")
	}
}

func TestAPausedProcessIsStopped(t *testing.T) {
	t.Parallel()
	p, err := proc.StartPart(testContext(t), "serve", "x", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if err = p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.Stop(testContext(t), proc.Step{Grace: time.Minute})
	if !errors.Is(p.Err(), proc.ErrExited) {
		t.Errorf("end = %v, want %v: the end of its input", p.Err(), proc.ErrExited)
	}
}

func TestTheConfigurationReachesTheChildAndNobodyElse(t *testing.T) {
	t.Parallel()
	p, err := proc.StartPart(testContext(t), "serve", map[string]string{"secret": "s3same"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(t.Context())
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID(), name))
		if err == nil && strings.Contains(string(text), "s3same") {
			t.Errorf("the configuration shows in %s", name)
		}
	}
	p.Stop(testContext(t), proc.Step{Grace: time.Minute})
	if got := p.Err().Error(); !strings.Contains(got, `configured with {"secret":"s3same"}`) {
		t.Errorf("the child said %q", got)
	}
}

func TestAChildThatFailsBeforeItIsReadyFailsTheStart(t *testing.T) {
	t.Parallel()
	for role, want := range map[string]string{
		"fail": "out of luck", "crash": "before it was ready", "unknown": `no part "unknown"`,
	} {
		_, err := proc.StartPart(testContext(t), role, nil, zerolog.Nop())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("start of %q: %v, want %q", role, err, want)
		}
	}
}

func TestAMissingProgramIsNamed(t *testing.T) { //nolint:paralleltest // it sets a variable of the whole process
	const missing = "/nowhere/local"
	t.Setenv(proc.ProgramVariable, missing)
	_, started := proc.StartPart(testContext(t), "serve", nil, zerolog.Nop())
	for what, err := range map[string]error{"start": started, "run": proc.RunPart(testContext(t), "serve", nil, zerolog.Nop())} {
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: %v, want the name of the missing program", what, err)
		}
	}
}

func TestAConfigurationThatCannotBeSentFailsTheStart(t *testing.T) {
	t.Parallel()
	if _, err := proc.StartPart(testContext(t), "serve", math.Inf(1), zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "start serve") {
		t.Errorf("start with a number that JSON does not have: %v", err)
	}
}

// A process that has ended by itself is in the state in which a signal would reach another process with the same number.
func TestASignalToAProcessThatHasEndedIsRefused(t *testing.T) {
	t.Parallel()
	p := shell(t, "exit 0")
	wait(t, p)
	if err := p.Signal(syscall.SIGCONT); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal after the end: %v, want %v", err, os.ErrProcessDone)
	}
}

func TestAStartCanBeCalledOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := proc.StartPart(ctx, "hang", nil, zerolog.Nop()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("start of a child that hangs: %v, want %v", err, context.DeadlineExceeded)
	}
	if err := proc.RunPart(ctx, "hang", nil, zerolog.Nop()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("run of a child that hangs: %v, want %v", err, context.DeadlineExceeded)
	}
	if err := proc.Run(ctx, proc.Spec{Name: "cat", Path: "/bin/cat", Args: []string{"/dev/zero"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("run of a program that does not end: %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestRunTellsFailureFromSuccess(t *testing.T) {
	t.Parallel()
	if err := proc.Run(testContext(t), proc.Spec{Name: "true", Path: "/bin/sh", Args: []string{"-c", "exit 0"}}); err != nil {
		t.Error(err)
	}
	if err := proc.Run(testContext(t), proc.Spec{Name: "false", Path: "/bin/sh", Args: []string{"-c", "exit 1"}}); err == nil {
		t.Error("a failure is no error")
	}
	if err := proc.RunPart(testContext(t), "fail", nil, zerolog.Nop()); err == nil {
		t.Error("a child's failure is no error")
	}
	if err := proc.Run(testContext(t), proc.Spec{Name: "none", Path: "/nowhere/none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("run of nothing: %v, want %v", err, os.ErrNotExist)
	}
}

func TestAProcessWithoutTheHookDoesNotMultiply(t *testing.T) {
	t.Parallel()
	if err := proc.RunPart(testContext(t), "nested", nil, zerolog.Nop()); err != nil {
		t.Error(err)
	}
}
