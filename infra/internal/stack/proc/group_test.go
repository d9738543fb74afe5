package proc_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"sori.internal/infra/internal/stack/proc"
)

func TestTheEndOfTheContextReachesEveryProcessOfAGroup(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "sleep 600 & echo ready; wait")
	proc.Group(cmd, syscall.SIGTERM)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	output := bufio.NewReader(out)
	if line, err := output.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the command wrote %q, %v", line, err)
	}
	cancel()
	ended := make(chan error, 1)
	go func() { // sleep has the output of the command, too, which ends with the last of both
		_, err := io.Copy(io.Discard, output)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-testContext(t).Done():
		t.Error("a process of the group lives")
	}
	_ = cmd.Wait() // fails with the signal
}

// The context may end at the moment at which the last process of the group ends. Wait then returns how the command ended, and
// not that the signal found no process.
func TestAGroupThatHasEndedIsNoFailureOfItsCancellation(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "exit 0")
	proc.Group(cmd, syscall.Signal(0)) // no other process can suffer if it has got the number of this one
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Cancel(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("cancel after the end: %v, want %v", err, os.ErrProcessDone)
	}
}
