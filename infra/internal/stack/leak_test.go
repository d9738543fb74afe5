package stack_test

import (
	"bytes"
	"runtime/pprof"
	"strings"
	"testing"

	"sori.internal/infra/internal/stack"
)

// TestStopLeavesNoGoroutine runs before the parallel tests, so all goroutines that it sees are its own.
func TestStopLeavesNoGoroutine(t *testing.T) { //nolint:paralleltest // see above
	dir := newDir(t)
	for _, child := range []bool{false, true} {
		s := start(t, stack.Options{Dir: dir, NATSChild: child})
		stop(t, s)
	}
	eventually(t, "end of all goroutines", func() bool {
		var b bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&b, 2); err != nil {
			t.Fatal(err)
		}
		for _, owner := range []string{"stack.(*Stack)", "infra/internal/stack/", "nats-server", "lib/pq"} {
			for line := range strings.Lines(b.String()) {
				if strings.Contains(line, owner) && !strings.HasPrefix(line, "\t") { // a function, not a file
					return false
				}
			}
		}
		return true
	})
}
