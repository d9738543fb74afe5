package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const lockPollEvery = 10 * time.Millisecond

// HeldError means that another process holds the lock.
type HeldError struct {
	Path string
	PID  int // process ID of the holder; 0 if it is unknown
}

// Error implements error.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is held by another process", e.Path)
	}
	return fmt.Sprintf("%s is held by process %d", e.Path, e.PID)
}

// Lock is a lock on a file that this process holds, so that one process at a time uses a folder. The kernel releases it when
// the process ends, so nothing has to be cleaned up after a kill. The process ID in the file is only used in error messages.
type Lock struct{ file *flock.Flock }

// AcquireLock acquires the lock, or returns a *HeldError at once if another process holds it.
func AcquireLock(path string) (*Lock, error) {
	file := newLock(path)
	held, err := file.TryLock()
	return finish(file, held, err)
}

// WaitForLock acquires the lock. If another process holds it, WaitForLock waits at most for the given limit, and then returns
// a *HeldError.
func WaitForLock(ctx context.Context, path string, limit time.Duration) (*Lock, error) {
	file := newLock(path)
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	held, err := file.TryLockContext(waiting, lockPollEvery)
	if waiting.Err() != nil {
		err = nil
	}
	return finish(file, held, err)
}

func newLock(path string) *flock.Flock {
	return flock.New(path, flock.SetFlag(os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW))
}

// finish writes this process's ID into the file and returns the lock. If the parameter held is false, it returns a *HeldError.
func finish(file *flock.Flock, held bool, err error) (*Lock, error) {
	path := file.Path()
	if err == nil && !held {
		text, _ := os.ReadFile(path)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text))) // 0 if the holder has not written its ID yet
		return nil, &HeldError{Path: path, PID: pid}
	}
	if err == nil {
		err = os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, errors.Join(err, file.Unlock()))
	}
	return &Lock{file}, nil
}

// Release releases the lock. It does not delete the file: otherwise two processes could each lock a different file of the same
// name.
func (l *Lock) Release() error {
	if err := l.file.Unlock(); err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	return nil
}
