package scenario

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestParallelDoesEachOnceAndStopsAtAFailure(t *testing.T) {
	t.Parallel()
	var did [100]atomic.Int64
	var under, most atomic.Int64
	err := parallel(t.Context(), len(did), 7, func(_ context.Context, i int) error {
		now := under.Add(1)
		defer under.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		did[i].Add(1)
		return nil
	})
	if err != nil || most.Load() > 7 {
		t.Fatalf("%v, %d at a time", err, most.Load())
	}
	for i := range did {
		if n := did[i].Load(); n != 1 {
			t.Errorf("%d was done %d times", i, n)
		}
	}
	broken := errors.New("broken")
	var calls atomic.Int64
	err = parallel(t.Context(), 1_000_000, 2, func(context.Context, int) error { calls.Add(1); return broken })
	if !errors.Is(err, broken) || calls.Load() > 2 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

func TestAGivenSizeGoesBeforeTheScenariosOwn(t *testing.T) {
	t.Parallel()
	if got := (Size{Jobs: 5}).or(Size{Jobs: 1, Concurrent: 2, Bytes: 3}); got != (Size{Jobs: 5, Concurrent: 2, Bytes: 3}) {
		t.Error(got)
	}
}

func TestStagesLeaveOutWhatWasNotNoted(t *testing.T) {
	t.Parallel()
	began := time.Unix(100, 0)
	s := newStages()
	s.add(began, map[string]time.Time{"received": began.Add(2), "stored": began.Add(5)}, began.Add(9))
	counts := map[string]int{}
	for _, stage := range s {
		counts[stage.name] = stage.took.Len()
	}
	if counts["request to received"] != 1 || counts["received to stored"] != 1 || counts["attempted to completed"] != 0 {
		t.Error(counts)
	}
	if got := s[1].took.Max(); got != 3 {
		t.Error(got)
	}
}
