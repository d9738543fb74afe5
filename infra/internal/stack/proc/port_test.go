package proc_test

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"sori.internal/infra/internal/stack/proc"
)

// occupy listens on a port until the test ends.
func occupy(t *testing.T, port int) int {
	t.Helper()
	l, err := net.Listen("tcp4", proc.Address(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

func TestAFixedPortIsThatOrNone(t *testing.T) {
	t.Parallel()
	port := occupy(t, 0)
	err := proc.WithPort(t.Context(), proc.Port{Fixed: port}, func(int) error {
		t.Error("started on a taken port")
		return nil
	})
	if !errors.Is(err, proc.ErrPortTaken) {
		t.Errorf("taken port: %v, want %v", err, proc.ErrPortTaken)
	}
}

func TestAFixedPortIsWaitedForAMoment(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", proc.Address(0))
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(50*time.Millisecond, func() { _ = l.Close() })
	defer timer.Stop()
	want := l.Addr().(*net.TCPAddr).Port
	if err = proc.WithPort(t.Context(), proc.Port{Fixed: want}, func(int) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestAPreferredPortGivesWay(t *testing.T) {
	t.Parallel()
	port := occupy(t, 0)
	var got int
	if err := proc.WithPort(t.Context(), proc.Port{Prefer: port}, func(p int) error { got = p; return nil }); err != nil {
		t.Fatal(err)
	}
	if got == port || got == 0 {
		t.Errorf("got port %d instead of taken %d", got, port)
	}
}

func TestALostRaceTakesAnotherPort(t *testing.T) {
	t.Parallel()
	var tried []int
	err := proc.WithPort(t.Context(), proc.Port{}, func(p int) error {
		if tried = append(tried, p); len(tried) == 1 {
			occupy(t, p) // the same happens if another process takes the port first
			return errors.New("cannot listen")
		}
		return nil
	})
	if err != nil || len(tried) != 2 || tried[0] == tried[1] {
		t.Errorf("tried %v, %v; want a second port", tried, err)
	}
}

// A program whose start fails although its ports are free, and that then keeps them, must not be started for ever.
func TestLostRacesComeToAnEnd(t *testing.T) {
	t.Parallel()
	tried, want := map[int]bool{}, errors.New("cannot listen")
	err := proc.WithPort(t.Context(), proc.Port{}, func(p int) error {
		tried[p] = true
		occupy(t, p)
		return want
	})
	if !errors.Is(err, want) || len(tried) != 5 {
		t.Errorf("tried %v: %v, want five ports and %v", tried, err, want)
	}
}

func TestAnotherFailureIsNotRepeated(t *testing.T) {
	t.Parallel()
	calls, want := 0, errors.New("broken")
	err := proc.WithPort(t.Context(), proc.Port{}, func(int) error { calls++; return want })
	if !errors.Is(err, want) || calls != 1 {
		t.Errorf("%d calls, %v; want one and %v", calls, err, want)
	}
}

// The program that asks for a port starts processes at the same time. Until such a process executes its program, it has a
// copy of every socket of its parent. This copy must not make the port look taken.
func TestAPortIsNotTakenByTheQuestionWhetherItIs(t *testing.T) {
	t.Parallel()
	ports, err := proc.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var started sync.WaitGroup
	defer started.Wait()
	defer cancel()
	started.Go(func() {
		for ctx.Err() == nil {
			_ = exec.Command("true").Run() // the error is ignored: only the start matters
		}
	})
	for range 3000 {
		if proc.PortTaken(ports[0]) {
			t.Fatal("a free port was taken")
		}
	}
}

// If the same port were found again, another process could get the port of a part that is being restarted.
func TestAPortThatWasFoundIsNotFoundAgain(t *testing.T) {
	t.Parallel()
	found := map[int]bool{}
	for range 300 { // freePort chooses from 7000 ports: without claims it would return about six ports twice
		ports, err := proc.FreePorts(1)
		if err != nil {
			t.Fatal(err)
		}
		if found[ports[0]] {
			t.Errorf("port %d is found twice", ports[0])
		}
		found[ports[0]] = true
	}
}
