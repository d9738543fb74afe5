package minrate_test

import (
	"testing"
	"time"

	"sori.internal/shared/minrate"
)

// slices transfers n bytes again and again, each time in the given time, until the transfer is too
// late. It returns the number of transfers, at most 1000.
func slices(l minrate.Limit, n int, took time.Duration) int {
	m := l.Meter()
	for i := range 1000 {
		if m.Remaining(0) < took {
			return i
		}
		m.Add(n, took)
	}
	return 1000
}

func TestATransferMayBeLateByTheLagOnly(t *testing.T) {
	t.Parallel()
	least := minrate.Limit{BytesPerSecond: 1000, Lag: 30 * time.Second}
	for name, c := range map[string]struct {
		limit minrate.Limit
		n     int
		took  time.Duration
		want  int
	}{
		"a byte in five seconds":                   {least, 1, 5 * time.Second, 6},
		"exactly the least rate":                   {least, 1000, time.Second, 1000},
		"half of it":                               {least, 500, time.Second, 59},
		"a large piece after each long pause":      {least, 29000, 29 * time.Second, 1000},
		"longer than the lag without a byte":       {least, 1 << 20, 31 * time.Second, 0},
		"any rate, a byte in five seconds":         {minrate.Limit{Lag: 30 * time.Second}, 1, 5 * time.Second, 1000},
		"any rate, longer than the lag for a byte": {minrate.Limit{Lag: 30 * time.Second}, 1, 31 * time.Second, 0},
	} {
		if got := slices(c.limit, c.n, c.took); got != c.want {
			t.Errorf("%s: %d times, want %d", name, got, c.want)
		}
	}
}

func TestASpeedyBeginningIsNoCredit(t *testing.T) {
	t.Parallel()
	m := minrate.Limit{BytesPerSecond: 1000, Lag: 30 * time.Second}.Meter()
	m.Add(100<<20, time.Millisecond)
	if got := m.Remaining(0); got != 30*time.Second {
		t.Errorf("after 100 MiB at once, %v remain", got)
	}
	if got := m.Remaining(2000); got != 32*time.Second {
		t.Errorf("for 2000 bytes, %v remain", got)
	}
}
