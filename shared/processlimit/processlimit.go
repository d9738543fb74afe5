// Package processlimit helps a process to limit its own memory and processor time, for work that
// cannot be interrupted.
package processlimit

import (
	"context"
	"time"

	"sori.internal/shared/wait"
)

// interval is how often the processor time is compared with its limit.
const interval = 50 * time.Millisecond

// Watch calls the function exceed when the process has used more processor time since the call of
// Watch than the limit. The function must end the process: otherwise it is called again and again,
// until ctx ends or stop is called.
func Watch(ctx context.Context, limit time.Duration, exceed func()) (stop func()) {
	began := processorTime()
	return wait.InBackground(ctx, interval, func(context.Context) {
		if processorTime()-began > limit {
			exceed()
		}
	})
}
