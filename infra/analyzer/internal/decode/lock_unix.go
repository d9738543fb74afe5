//go:build unix

package decode

import (
	"context"
	"time"

	"sori.internal/infra/internal/stack/flock"
)

// lockPatience is how long another process may take to build and compile.
const lockPatience = 5 * time.Minute

// lock takes a lock between processes.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	held, err := flock.Wait(ctx, path, lockPatience)
	if err != nil {
		return nil, err
	}
	return func() { _ = held.Release() }, nil // the kernel drops it with the process
}
