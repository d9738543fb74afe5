package analysis

import (
	"testing"
	"time"

	"sori.internal/shared/event"
)

// logOf is a log of events.
func logOf(events ...event.Event) event.Log {
	log := make(event.Log, len(events))
	for i, e := range events {
		log[i] = event.Record{Event: e, Seq: uint64(i + 1)}
	}
	return log
}

func TestAnAttemptIsWatchedOnlyWhileItIsTheServers(t *testing.T) {
	t.Parallel()
	stored, attempted, dispatched := event.Stored{}, event.Attempted{Attempt: 1}, event.Dispatched{Attempt: 1}
	for name, c := range map[string]struct {
		log                             event.Log
		running, unfinished, beingAsked bool
	}{
		"nothing":                       {logOf(), false, false, false},
		"stored":                        {logOf(stored), false, false, false},
		"asked":                         {logOf(stored, attempted), false, false, true},
		"taken":                         {logOf(stored, attempted, dispatched), true, false, false},
		"lapsed":                        {logOf(stored, attempted, dispatched, event.Lapsed{Attempt: 1}), false, false, false},
		"lapsed, next begun":            {logOf(stored, dispatched, event.Lapsed{Attempt: 1}, event.Attempted{Attempt: 2}), false, false, false},
		"lost, next begun":              {logOf(stored, dispatched, event.Attempted{Attempt: 2}), false, true, false},
		"lost, next taken":              {logOf(stored, event.Attempted{Attempt: 2}, event.Dispatched{Attempt: 2}), false, false, false},
		"completed":                     {logOf(stored, attempted, dispatched, event.Completed{Attempt: 1}), false, false, false},
		"canceled":                      {logOf(stored, attempted, dispatched, event.Canceled{}), false, false, false},
		"canceled, next begun":          {logOf(stored, dispatched, event.Attempted{Attempt: 2}, event.Canceled{}), false, false, false},
		"failed and retried":            {logOf(stored, attempted, dispatched, event.Failed{Attempt: 1}, event.Retried{Attempt: 2}), false, false, false},
		"failed, retried and attempted": {logOf(stored, dispatched, event.Failed{Attempt: 1}, event.Retried{Attempt: 2}, event.Attempted{Attempt: 2}), false, false, false},
	} {
		if running(c.log, 1) != c.running || unfinished(c.log, 1) != c.unfinished || beingAsked(c.log, 1) != c.beingAsked {
			t.Errorf("%s: running %v, unfinished %v, being asked %v", name, running(c.log, 1), unfinished(c.log, 1), beingAsked(c.log, 1))
		}
	}
}

func TestASilentServerIsAskedSoonerWhereItHasReported(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		ago     time.Duration
		reports bool
		every   time.Duration
		want    time.Duration
	}{
		"just taken":                {0, false, 30 * time.Second, 30 * time.Second},
		"taken a while ago":         {20 * time.Second, false, 30 * time.Second, 10 * time.Second},
		"due":                       {30 * time.Second, false, 30 * time.Second, 0},
		"just heard":                {0, true, 30 * time.Second, 5 * time.Second},
		"silent":                    {6 * time.Second, true, 30 * time.Second, -time.Second},
		"polled faster than that":   {0, true, time.Second, time.Second},
		"a clock that is behind us": {-time.Second, true, 30 * time.Second, 6 * time.Second},
	} {
		if got := askIn(now.Add(-c.ago), time.Time{}, c.reports, c.every, now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for asked, want := range map[time.Duration]time.Duration{ // how long after it was heard, and until it is asked again
		-time.Second: 5 * time.Second, time.Second: 5 * time.Second, 5 * time.Second: 5 * time.Second,
		10 * time.Second: 10 * time.Second, 20 * time.Second: 20 * time.Second, time.Minute: 30 * time.Second,
	} {
		heard := now.Add(-max(asked, 0))
		if got := askIn(heard, heard.Add(asked), true, 30*time.Second, now); got != want {
			t.Errorf("asked %v after it was heard: again in %v, want %v", asked, got, want)
		}
		if got := askIn(heard, heard.Add(asked), false, 30*time.Second, now); got != 30*time.Second {
			t.Errorf("it never reports: again in %v", got)
		}
	}
}
