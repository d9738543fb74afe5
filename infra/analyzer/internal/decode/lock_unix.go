//go:build unix

package decode

import (
	"context"
	"fmt"
	"time"

	"github.com/gofrs/flock"
)

const (
	lockPatience  = 5 * time.Minute // how long another process may take to build and compile
	lockPollEvery = 10 * time.Millisecond
)

// lock acquires a lock between processes.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	held := flock.New(path)
	if _, err := held.TryLockContext(ctx, lockPollEvery); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = held.Unlock() }, nil // the kernel releases it when the process ends
}
