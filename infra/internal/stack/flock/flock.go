// Package flock keeps a folder for one process at a time. The kernel drops the lock with its holder, so a killed process
// leaves nothing to clean up; the number in the file only serves the message.
package flock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const pollEvery = 10 * time.Millisecond

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

// Lock is a held lock.
type Lock struct{ file *os.File }

// Acquire takes the lock or returns a *HeldError at once.
func Acquire(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err = take(f, path); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &Lock{file: f}, nil
}

// Wait takes the lock when its holder gives it back or dies within the limit: for a holder that is known to be ending.
func Wait(ctx context.Context, path string, limit time.Duration) (*Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		lock, err := Acquire(path)
		var held *HeldError
		if err == nil || !errors.As(err, &held) {
			return lock, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

func take(f *os.File, path string) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		text, _ := io.ReadAll(io.LimitReader(f, 32))
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text))) // no number: the holder has not written it yet
		return &HeldError{Path: path, PID: pid}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	if err = f.Truncate(0); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	if _, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return nil
}

// Release gives the lock back. The file stays: removing it would let two processes lock two files of one name.
// It is unlocked and not only closed: a process that is just being started holds a copy of the descriptor until it runs its program.
func (l *Lock) Release() error {
	err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	if err = errors.Join(err, l.file.Close()); err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	return nil
}
