//go:build unix

package decode

import (
	"context"
	"fmt"
	"time"

	"github.com/gofrs/flock"
)

const (
	lockPatience  = 5 * time.Minute // how long lock waits for another process that builds the decoder
	lockPollEvery = 10 * time.Millisecond
)

// lock acquires a lock on the file at path, which excludes other processes.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	held := flock.New(path)
	if _, err := held.TryLockContext(ctx, lockPollEvery); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = held.Unlock() }, nil // an error is irrelevant: the kernel releases the lock when the process ends
}
