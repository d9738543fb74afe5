package api

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sori.internal/shared/fault"
)

func TestOneOwnerUsesAtMostAQuarterOfTheMemoryOfResults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(400)
		first, err := m.acquire(t.Context(), "alice", 100)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := m.acquire(t.Context(), "alice", 1); !fault.Is(err, fault.Exhausted) || time.Since(began) != memoryWait {
			t.Errorf("more than a quarter: %v after %v", err, time.Since(began))
		}
		var releases []func()
		for _, owner := range []string{"bob", "carol", ""} {
			release, err := m.acquire(t.Context(), owner, 1000) // larger than a quarter: it counts as one
			if err != nil {
				t.Fatalf("%q: %v", owner, err)
			}
			releases = append(releases, release)
		}
		if _, err := m.acquire(t.Context(), "dave", 1); !fault.Is(err, fault.Exhausted) {
			t.Errorf("all memory is in use: %v", err)
		}
		waiting := make(chan error)
		go func() {
			_, err := m.acquire(t.Context(), "dave", 100)
			waiting <- err
		}()
		synctest.Wait()
		first()
		first() // has no effect
		if err := <-waiting; err != nil {
			t.Errorf("after a release: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.acquire(ctx, "alice", 1); !fault.Stopped(ctx, err) {
			t.Errorf("the client has left: %v", err)
		}
		for _, release := range releases {
			release()
		}
		if m.used != 100 || len(m.owners) != 1 {
			t.Errorf("%d bytes of %v are in use", m.used, m.owners)
		}
	})
}
