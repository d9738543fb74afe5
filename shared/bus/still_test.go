package bus_test

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

// behind opens a bus whose server can be held.
func behind(t *testing.T) (*testkit.Kit, *bus.Bus, *testkit.Proxy) {
	t.Helper()
	k, _ := open(t)
	var cfg bus.Config
	k.Load(&cfg)
	proxy := k.Proxy(cfg.URL.Reveal())
	cfg.URL = config.Secret(proxy.URL)
	b, err := bus.Open(cfg, "tester", k.Log())
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	must(t, b.Ping(k.Context()))
	return k, b, proxy
}

// endless is a body that comes as fast as it is read.
func endless() io.Reader {
	return readerFunc(func(p []byte) (int, error) { return len(p), nil })
}

// A server that takes nothing more fills the socket, and whoever then writes holds
// the connection's lock: all others would wait with it.
func TestAServerThatStandsStillHoldsNobodyUpForLong(t *testing.T) {
	t.Parallel()
	k, b, proxy := behind(t)
	held := proxy.Hold(1 << 20)
	began := time.Now()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := b.Stage(k.Context(), newJob(t), io.LimitReader(endless(), 8<<20)); !fault.Is(err, fault.Unavailable) {
				t.Errorf("stage: %v", err)
			}
			if took := time.Since(began); took > 12*time.Second {
				t.Errorf("an upload was held for %v", took)
			}
		})
	}
	<-held
	ctx, cancel := context.WithTimeout(k.Context(), time.Second)
	defer cancel()
	if err := b.Ping(ctx); !fault.Is(err, fault.Unavailable) {
		t.Errorf("ping: %v", err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("a ping was held for %v", took)
	}
	wg.Wait()
	proxy.Mend()
	testkit.Eventually(t, func() error {
		_, err := b.Stage(k.Context(), newJob(t), io.LimitReader(endless(), 1<<20))
		return err
	})
}

// Whatever a connection says that breaks in the middle of a write, it is away.
func TestAConnectionThatBreaksUnderAWriteIsUnavailable(t *testing.T) {
	t.Parallel()
	k, b, proxy := behind(t)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				_, err := b.Stage(k.Context(), newJob(t), io.LimitReader(endless(), 2<<20))
				if err != nil && !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Exhausted) {
					t.Errorf("stage: %v", err)
				}
			}
		})
	}
	for range 8 {
		held := proxy.Hold(3 << 20)
		select {
		case <-held:
		case <-time.After(2 * time.Second): // so much may not come: the connection is being made
		}
		proxy.Cut()
		proxy.Mend()
		testkit.Eventually(t, func() error { return b.Ping(k.Context()) })
	}
	stop.Store(true)
	wg.Wait()
	_, err := b.Append(k.Context(), event.Received{JobID: newJob(t), TokenID: 1}, 0)
	must(t, err)
}
