package bus_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

// whole publishes a job's log, twice over on one of its subjects, and its progress,
// and returns the log.
func whole(t *testing.T, k *testkit.Kit, b *bus.Bus) event.Log {
	t.Helper()
	job := receive(t, k, b)
	for _, e := range []event.Event{
		event.Stored{JobID: job}, event.Failed{JobID: job}, event.Retried{JobID: job, Attempt: 1}, event.Failed{JobID: job, Attempt: 1},
	} {
		_, err := b.Decide(k.Context(), job, nil, func(event.Log) (event.Event, error) { return e, nil })
		must(t, err)
	}
	must(t, b.Tell(k.Context(), event.Progressed{JobID: job, Attempt: 1, Percent: 40, Message: "secret"}))
	log, err := b.Log(k.Context(), job)
	must(t, err)
	return log
}

// erase says that a job is erased and returns the sequence of that.
func erase(t *testing.T, k *testkit.Kit, b *bus.Bus, job string) uint64 {
	t.Helper()
	log, err := b.Decide(k.Context(), job, nil, func(event.Log) (event.Event, error) { return event.Erased{JobID: job}, nil })
	must(t, err)
	return log.Seq()
}

func TestOfAForgottenJobOnlyItsErasureIsLeft(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	stop := start(t, func(ctx context.Context) error {
		return b.Consume(ctx, consumer("rejecting", func(context.Context, bus.Delivery) error {
			return fault.New(fault.Invalid, "data-refused", "The data cannot be stored.")
		}))
	})
	gone, kept := whole(t, k, b), whole(t, k, b)
	settled(t, k, "rejecting")
	stop()
	job, other := gone[0].Event.Job(), kept[0].Event.Job()
	seq := erase(t, k, b, job)
	for range 2 {
		must(t, b.Forget(k.Context(), job, seq))
		log, err := b.Log(k.Context(), job)
		must(t, err)
		if len(log) != 1 || log.Seq() != seq || !log.Erased() {
			t.Errorf("log %+v", log)
		}
	}
	left := map[string]int{}
	for _, m := range k.Messages(event.Jobs()) {
		id, _, err := event.ParseSubject(m.Subject)
		must(t, err)
		left[id]++
	}
	if left[job] != 1 || left[other] != 6 {
		t.Errorf("messages left: %v", left)
	}
	letters, err := b.DeadLetters(k.Context(), "")
	must(t, err)
	if len(letters) != 1 || letters[0].Job != other {
		t.Errorf("letters %+v", letters)
	}
}

func TestAForgottenJobRefusesWhatIsSaidOfIt(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	log := whole(t, k, b)
	job := log[0].Event.Job()
	must(t, b.Forget(k.Context(), job, erase(t, k, b, job)))
	for _, after := range []uint64{0, log[0].Seq, log.Seq()} {
		if _, err := b.Append(k.Context(), event.Attempted{JobID: job, Attempt: 2}, after); !errors.Is(err, event.ErrLogConflict) {
			t.Errorf("after %d: %v", after, err)
		}
	}
	if _, err := b.Append(k.Context(), event.Received{JobID: job}, 0); !errors.Is(err, event.ErrLogConflict) {
		t.Errorf("opened again: %v", err)
	}
	if story := k.EventNames(b, job); !slices.Equal(story, []event.Name{event.NameErased}) {
		t.Errorf("story %v", story)
	}
}

func TestALetterOfAnErasureOutlivesIt(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	start(t, func(ctx context.Context) error {
		c := consumer("rejecting", func(context.Context, bus.Delivery) error {
			return fault.New(fault.Forbidden, "denied", "The bucket may not be changed.")
		})
		c.Filters = []string{event.Filter(event.NameErased)}
		return b.Consume(ctx, c)
	})
	log := whole(t, k, b)
	job := log[0].Event.Job()
	seq := erase(t, k, b, job)
	settled(t, k, "rejecting")
	must(t, b.Forget(k.Context(), job, seq))
	letters, err := b.DeadLetters(k.Context(), "rejecting")
	must(t, err)
	if len(letters) != 1 || letters[0].EventSeq != seq {
		t.Errorf("letters %+v", letters)
	}
}

func TestWhatIsForgottenInHandIsSettledAllTheSame(t *testing.T) {
	t.Parallel()
	for name, dies := range map[string]bool{"by who has it": false, "by the end of its lease": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, b := open(t)
			job := receive(t, k, b)
			cons, err := k.JetStream().CreateConsumer(k.Context(), k.Namespace().Stream("AUDIO_JOBS"), jetstream.ConsumerConfig{
				Durable: "copier", FilterSubject: k.Namespace().Subject(event.Filter(event.NameReceived)),
				AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Second,
			})
			must(t, err)
			msg, err := cons.Next(jetstream.FetchContext(k.Context()))
			must(t, err)
			seq := erase(t, k, b, job)
			if done, err := b.Settled(k.Context(), "copier", seq); err != nil || done {
				t.Errorf("settled: %v %v", done, err)
			}
			must(t, b.Forget(k.Context(), job, seq))
			if !dies {
				must(t, msg.DoubleAck(k.Context()))
			}
			given := make(chan string, 10)
			start(t, func(ctx context.Context) error {
				c := consumer("copier", func(_ context.Context, d bus.Delivery) error { given <- d.Job; return nil })
				c.AckWait = time.Second
				return b.Consume(ctx, c)
			})
			testkit.Eventually(t, func() error {
				done, err := b.Settled(k.Context(), "copier", seq)
				if err == nil && !done {
					err = errors.New("not settled")
				}
				return err
			})
			later := receive(t, k, b)
			settled(t, k, "copier")
			if got := <-given; got != later || len(given) > 0 {
				t.Errorf("given %s and %d others, want %s alone", got, len(given), later)
			}
		})
	}
}

func TestAConsumerThatDoesNotExistHasNothingInHand(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	if done, err := b.Settled(k.Context(), "nobody", 7); err != nil || !done {
		t.Errorf("%v %v", done, err)
	}
}
