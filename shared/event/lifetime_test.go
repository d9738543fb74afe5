package event_test

import (
	"testing"
	"time"

	"sori.internal/shared/event"
)

func TestOnlyAWaitingEventWithATimeIsRemovedBeforeItsLog(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, e := range samples() {
		if _, waiting := e.(event.Waiting); !waiting && event.Lifetime(e, now) != 0 {
			t.Errorf("%s is removed after %v", e.Name(), event.Lifetime(e, now))
		}
	}
	for _, c := range []struct {
		until time.Time
		want  time.Duration
	}{{now.Add(time.Hour), 70 * time.Minute}, {now.Add(-time.Hour), 10 * time.Minute}, {time.Time{}, 0}} {
		if got := event.Lifetime(event.Waiting{JobID: job, Until: c.until, Since: now}, now); got != c.want {
			t.Errorf("waiting until %v is kept for %v, want %v", c.until, got, c.want)
		}
	}
}
