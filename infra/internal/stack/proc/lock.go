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

// HeldError says who holds a lock.
type HeldError struct {
	Path string
	PID  int // 0 when the holder did not say
}

// Error implements error.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is held by another process", e.Path)
	}
	return fmt.Sprintf("%s is held by process %d", e.Path, e.PID)
}

// Lock is a held lock, which keeps a folder for one process at a time. The kernel drops it with its holder, so a killed
// process leaves nothing to clean up; the number in the file only serves the message.
type Lock struct{ file *flock.Flock }

// AcquireLock takes the lock or returns a *HeldError at once.
func AcquireLock(path string) (*Lock, error) {
	file := newLock(path)
	held, err := file.TryLock()
	return finish(file, held, err)
}

// WaitForLock takes the lock when its holder gives it back or dies within the limit, or returns a *HeldError.
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

// finish returns the lock if it is held, after it has written the number of this process into it.
func finish(file *flock.Flock, held bool, err error) (*Lock, error) {
	path := file.Path()
	if err == nil && !held {
		text, _ := os.ReadFile(path)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text))) // no number: the holder has not written it yet
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

// Release gives the lock back. The file stays: removing it would let two processes lock two files of one name.
func (l *Lock) Release() error {
	if err := l.file.Unlock(); err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	return nil
}
