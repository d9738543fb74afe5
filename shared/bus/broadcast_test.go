package bus_test

import (
	"context"
	"testing"
)

func TestBroadcastsReachSubscribersAndNobodyElse(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	l := b.NewSubscriber(16)
	received := make(chan string, 16)
	ctx, stop := context.WithCancel(k.Context())
	done := make(chan error, 1)
	go func() {
		done <- l.Run(ctx, func(subject string, body []byte) { received <- subject + " " + string(body) })
	}()
	must(t, l.Subscribe(ctx, "audio.live.a"))
	must(t, l.Subscribe(ctx, "audio.live.a")) // a second call for the same subject must have no effect
	must(t, b.Broadcast("audio.live.b", []byte("0")))
	must(t, b.Broadcast("audio.live.a", []byte("1")))
	must(t, l.Subscribe(ctx, "audio.live.b"))
	must(t, b.Broadcast("audio.live.b", []byte("2")))
	for _, want := range []string{"audio.live.a 1", "audio.live.b 2"} {
		if got := <-received; got != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
	must(t, l.Unsubscribe("audio.live.a"))
	must(t, l.Unsubscribe("audio.live.a"))
	must(t, b.Broadcast("audio.live.a", []byte("3")))
	must(t, b.Broadcast("audio.live.b", []byte("4")))
	if got := <-received; got != "audio.live.b 4" {
		t.Errorf("received %q", got)
	}
	stop()
	must(t, <-done)
}
