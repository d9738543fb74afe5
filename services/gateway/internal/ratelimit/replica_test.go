package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sori.internal/services/gateway/internal/ratelimit"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

// The limits of a replica in these tests. A token bucket is refilled with one request an hour, so
// that no bucket is refilled during a test.
const (
	quota   = 10_000
	streams = 3
)

// replica is the part of a gateway's replica that limits clients: their requests, and their
// concurrent streams. It exchanges the usage with other replicas over NATS.
type replica struct {
	t       *testing.T
	set     *ratelimit.Set
	rate    *ratelimit.Rate
	streams *ratelimit.Concurrency
	bus     *bus.Bus
	*ratelimit.Exchange
}

// newReplica makes a replica with a connection to NATS at a URL. Its exchange does not run until
// start is called.
func newReplica(t *testing.T, k *testkit.Kit, url string) *replica {
	t.Helper()
	var cfg bus.Config
	k.Load(&cfg)
	cfg.URL = config.Secret(url)
	b, err := bus.Open(cfg, "gateway", k.Log())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	r := &replica{t: t, set: ratelimit.NewSet("secret"), bus: b}
	r.rate = r.set.NewRate("principal", "requests", quota, quota*time.Hour)
	r.streams = r.set.NewConcurrency("streams", streams)
	r.Exchange = ratelimit.NewExchange(r.set, b, b.NewSubscriber(ratelimit.BufferSize), k.Log())
	r.NeverExpire()
	return r
}

// start runs the exchange until stop is called, at the latest at the end of the test.
func (r *replica) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background()) // t.Context() would end before the cleanup that stops the exchange
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			if err := <-ended; err != nil {
				r.t.Error(err)
			}
		}
	}
	r.t.Cleanup(stop)
	return stop
}

// natsURL returns the URL of NATS.
func natsURL(k *testkit.Kit) string { return k.Settings(nil)["NATS_URL"] }

// started returns replicas that run.
func started(t *testing.T, k *testkit.Kit, n int) (all []*replica) {
	t.Helper()
	for range n {
		r := newReplica(t, k, natsURL(k))
		r.start()
		all = append(all, r)
	}
	return all
}

// take sends n requests of a client, which must be allowed.
func (r *replica) take(client string, n int) {
	r.t.Helper()
	for range n {
		if _, err := r.rate.Take(client, time.Now()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// refusesRequests waits until a request of a client is refused, and returns how long the client
// must wait. The test fails if this replica allows a whole quota of requests before that: the
// replica must count the requests at other replicas.
func (r *replica) refusesRequests(client string) (retryAfter time.Duration) {
	r.t.Helper()
	allowed := 0
	testkit.Eventually(r.t, func() error {
		s, err := r.rate.Take(client, time.Now())
		if err != nil {
			retryAfter = fault.As(err).RetryAfter
			return nil
		}
		if allowed++; allowed == quota {
			r.t.Fatal("the client has used up its quota at this replica")
		}
		return fmt.Errorf("allowed: %s", s.Limit())
	})
	return retryAfter
}

// acquire begins n streams of a client, which must be allowed.
func (r *replica) acquire(client string, n int) (releases []func()) {
	r.t.Helper()
	for i := range n {
		release, err := r.streams.Acquire(client)
		if err != nil {
			r.t.Fatalf("stream %d of %s: %v", i, client, err)
		}
		releases = append(releases, release)
	}
	return releases
}

// refusesStreams waits until a stream of a client is refused.
func (r *replica) refusesStreams(client string) {
	r.t.Helper()
	testkit.Eventually(r.t, func() error {
		release, err := r.streams.Acquire(client)
		if err == nil {
			release()
			return errors.New("a stream is allowed")
		}
		return nil
	})
}

// allowsAStream waits until a stream of a client is allowed.
func (r *replica) allowsAStream(client string) {
	r.t.Helper()
	testkit.Eventually(r.t, func() error {
		_, err := r.streams.Acquire(client)
		return err
	})
}

// refusesNothing checks that a client may have all its streams.
func (r *replica) refusesNothing(client string) {
	r.t.Helper()
	for _, release := range r.acquire(client, streams) {
		release()
	}
}
