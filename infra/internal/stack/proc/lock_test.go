package proc_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/internal/stack/proc"
)

func TestOneHolderAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	first, err := proc.AcquireLock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = proc.AcquireLock(path)
	var held *proc.HeldError
	if !errors.As(err, &held) || held.PID != os.Getpid() || !strings.Contains(held.Error(), strconv.Itoa(held.PID)) {
		t.Fatalf("second holder: %v, want it refused with the first one's number", err)
	}
	if err = first.Release(); err != nil {
		t.Fatal(err)
	}
	second, err := proc.AcquireLock(path)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err = second.Release(); err != nil {
		t.Error(err)
	}
}

func TestAWaiterGetsWhatIsGivenBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	first, err := proc.AcquireLock(path)
	if err != nil {
		t.Fatal(err)
	}
	var held *proc.HeldError
	if _, err = proc.WaitForLock(t.Context(), path, 30*time.Millisecond); !errors.As(err, &held) {
		t.Errorf("waited for a lock that stays held: %v", err)
	}
	timer := time.AfterFunc(30*time.Millisecond, func() { _ = first.Release() })
	defer timer.Stop()
	second, err := proc.WaitForLock(t.Context(), path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err = second.Release(); err != nil {
		t.Error(err)
	}
}

func TestAHolderThatDoesNotSayIsStillAHolder(t *testing.T) {
	t.Parallel()
	if msg := (&proc.HeldError{Path: "x"}).Error(); !strings.Contains(msg, "another process") {
		t.Errorf("message = %q", msg)
	}
}

func TestALinkIsNotFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, path := filepath.Join(dir, "target"), filepath.Join(dir, "lock")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if _, err := proc.AcquireLock(path); err == nil {
		t.Error("a link was followed")
	}
}
