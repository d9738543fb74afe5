package bus_test

import (
	"context"
	"testing"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

func TestWhatIsSaidOfATokenIsHeardAndBuriedAndReplayedAsWhatIsSaidOfAJob(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	b := k.Bus("tester", event.Jobs(), event.Dead(), event.Tokens())
	answers, given := make(chan error, 2), make(chan bus.Delivery, 2)
	start(t, func(ctx context.Context) error {
		c := consumer("deleter", func(_ context.Context, d bus.Delivery) error { given <- d; return <-answers })
		c.Stream, c.Filters = event.Tokens(), []string{event.Filter(event.NameDeleted)}
		return b.Consume(ctx, c)
	})
	receive(t, k, b) // which is in the stream of jobs at the same sequence
	answers <- fault.New(fault.Invalid, "data-refused", "")
	for range 2 { // the second is swallowed
		must(t, b.Tell(k.Context(), event.TokenDeleted{TokenID: 7}))
	}
	if d := <-given; d.Event != (event.TokenDeleted{TokenID: 7}) || d.Job != "" || d.Seq != 1 {
		t.Errorf("given %+v", d)
	}
	testkit.Eventually(t, func() error {
		letters, err := b.DeadLetters(k.Context(), "deleter")
		if err == nil && len(letters) != 1 {
			err = fault.New(fault.Internal, "no-letter", "")
		}
		return err
	})
	letters, err := b.DeadLetters(k.Context(), "deleter")
	must(t, err)
	if l := letters[0]; l.Subject != "audio.tokens.7.deleted" || l.EventSeq != 1 || l.Job != "" {
		t.Errorf("letter %+v", l)
	}
	answers <- nil
	must(t, b.Replay(k.Context(), "deleter", 1))
	if d := <-given; d.Event != (event.TokenDeleted{TokenID: 7}) {
		t.Errorf("replayed %+v", d)
	}
	m := k.Messages(event.Tokens())
	if len(m) != 1 || m[0].Header.Get("ce-id") != "token.7.deleted" || m[0].Header.Get("ce-subject") != "7" || m[0].Header.Get("ce-type") != "audio.token.deleted.v1" {
		t.Errorf("messages %+v", m)
	}
}
