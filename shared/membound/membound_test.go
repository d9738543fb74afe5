package membound

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sori.internal/shared/fault"
)

func TestOneOwnerUsesAtMostAQuarter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := New(400)
		first, err := m.Acquire(t.Context(), "alice", 100)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := m.Acquire(t.Context(), "alice", 1); !fault.Is(err, fault.Exhausted) || time.Since(began) != wait {
			t.Errorf("more than a quarter: %v after %v", err, time.Since(began))
		}
		var others []*Lease
		for _, owner := range []string{"bob", "carol", ""} {
			lease, err := m.Acquire(t.Context(), owner, 1000) // larger than a quarter: it counts as one
			if err != nil {
				t.Fatalf("%q: %v", owner, err)
			}
			others = append(others, lease)
		}
		if _, err := m.Acquire(t.Context(), "dave", 1); !fault.Is(err, fault.Exhausted) {
			t.Errorf("all memory is in use: %v", err)
		}
		waiting := make(chan error)
		go func() {
			_, err := m.Acquire(t.Context(), "dave", 100)
			waiting <- err
		}()
		synctest.Wait()
		first.Release()
		first.Release() // must have no effect: the lease is released already
		if err := <-waiting; err != nil {
			t.Errorf("after a release: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Acquire(ctx, "alice", 1); !fault.Stopped(ctx, err) {
			t.Errorf("the client has left: %v", err)
		}
		for _, lease := range others {
			lease.Shrink(60)
			lease.Shrink(70) // must have no effect: the lease has fewer bytes
		}
		if m.used != 280 {
			t.Errorf("%d bytes are in use", m.used)
		}
		for _, lease := range others {
			lease.Release()
		}
		(*Lease)(nil).Release()
		if m.used != 100 || len(m.owners) != 1 {
			t.Errorf("%d bytes of %v are in use", m.used, m.owners)
		}
	})
}
