package stack_test

import (
	"bytes"
	"runtime/pprof"
	"strings"
	"testing"

	"sori.internal/infra/internal/stack"
)

// TestStopLeavesNoGoroutine runs before the parallel tests, so that no goroutine of another test exists.
func TestStopLeavesNoGoroutine(t *testing.T) { //nolint:paralleltest // see above
	dir := newDir(t)
	for range 2 { // the second start uses the data of the first
		s := start(t, stack.Options{Dir: dir})
		stop(t, s)
	}
	eventually(t, "end of all goroutines", func() bool {
		var b bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&b, 2); err != nil {
			t.Fatal(err)
		}
		for _, owner := range []string{"stack.(*Stack)", "infra/internal/stack/", "lib/pq"} {
			for line := range strings.Lines(b.String()) {
				here := strings.Contains(line, owner) && !strings.Contains(line, "stack.Main")
				if here && !strings.HasPrefix(line, "\t") { // the line names a function, not a file
					return false
				}
			}
		}
		return true
	})
}
