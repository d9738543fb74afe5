package bus_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
)

// follow runs the usage until the test ends.
func follow(t *testing.T, l *bus.Usage) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() { stop(); must(t, <-ended) })
}

// reaches waits until the used fraction of a stream is about want.
func reaches(t *testing.T, l *bus.Usage, s event.Stream, want float64) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if got := l.Used(s); math.Abs(got-want) > 0.02 {
			return fmt.Errorf("%s is full to %v, want %v", s.Name, got, want)
		}
		return nil
	})
}

func TestUsageFollowsTheMessagesAndTheLimitsOfStreams(t *testing.T) {
	t.Parallel()
	k, b, proxy := openBehindProxy(t)
	l := b.NewUsage(event.Jobs(), event.Staging())
	if l.MaxUsed() != 0 {
		t.Errorf("before the first response: %v", l.MaxUsed())
	}
	follow(t, l)
	update := func(change func(*jetstream.StreamConfig)) {
		t.Helper()
		stream, err := k.JetStream().Stream(k.Context(), k.Namespace().Stream(event.Staging().Name))
		must(t, err)
		cfg := stream.CachedInfo().Config
		change(&cfg)
		_, err = k.JetStream().UpdateStream(k.Context(), cfg)
		must(t, err)
	}
	_, err := staging.New(b).Put(k.Context(), k.NewJob(), strings.NewReader(strings.Repeat("x", 4<<20)))
	must(t, err)
	reaches(t, l, event.Staging(), 4.0/256)
	update(func(c *jetstream.StreamConfig) { c.MaxBytes = 8 << 20 })
	reaches(t, l, event.Staging(), 0.5)
	update(func(c *jetstream.StreamConfig) { c.MaxMsgs = 20 })
	reaches(t, l, event.Staging(), 0.8)
	if of := l.Used(event.Jobs()); of != 0 || l.MaxUsed() < 0.78 {
		t.Errorf("the empty one is at %v, the fullest at %v", of, l.MaxUsed())
	}

	proxy.Cut() // the next request for the state of the streams fails
	update(func(c *jetstream.StreamConfig) { c.MaxMsgs = -1 })
	testkit.Eventually(t, func() error {
		if !strings.Contains(k.Logged(), "stream usage not known") {
			return fmt.Errorf("no request has failed")
		}
		return nil
	})
	reaches(t, l, event.Staging(), 0.8)
	proxy.Restore()
	reaches(t, l, event.Staging(), 0.5)
}
