package bus_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Delivery.Size must be the number of bytes that the server counts for the event in its stream.
func TestTheSizesOfTheEventsAreThoseOfTheStream(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	for n := range 5 {
		must(t, b.Publish(k.Context(), event.Received{JobID: k.NewJob(), FileName: strings.Repeat("녹음", 100*n)}))
	}
	var size atomic.Int64
	k.Start(func(ctx context.Context) error {
		return b.Consume(ctx, consumer("sizes", func(_ context.Context, d bus.Delivery) error {
			size.Add(d.Size)
			return nil
		}))
	})
	k.Settled("sizes")
	stream, err := k.JetStream().Stream(k.Context(), k.Namespace().Stream(event.Jobs().Name))
	must(t, err)
	want := int64(stream.CachedInfo().State.Bytes)
	if got := size.Load(); got != want || want == 0 {
		t.Errorf("the events have %d bytes, the stream %d", got, want)
	}
	for seq := range uint64(5) {
		must(t, b.Replay(k.Context(), "sizes", seq+1))
	}
	if got := size.Load() - want; got != want {
		t.Errorf("replayed, the events have %d bytes, of %d", got, want)
	}
}
