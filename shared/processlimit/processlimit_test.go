package processlimit_test

import (
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/shared/processlimit"
)

func TestAWatchReportsOnlyThatItsLimitIsExceeded(t *testing.T) {
	t.Parallel()
	defer processlimit.Watch(t.Context(), time.Hour, func() { t.Error("the limit of an hour is exceeded") })()
	var exceeded atomic.Bool
	defer processlimit.Watch(t.Context(), 50*time.Millisecond, func() { exceeded.Store(true) })()
	for !exceeded.Load() { // uses processor time
	}
}
