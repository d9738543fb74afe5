package joblog_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
)

// appendHistory appends the events of a job's log, two of them on the same subject, publishes
// progress, and returns the log.
func appendHistory(t *testing.T, k *testkit.Kit, b *bus.Bus, logs *joblog.Store) event.Log {
	t.Helper()
	job := k.Receive(b)
	for _, e := range []event.Event{
		event.Stored{JobID: job}, event.Failed{JobID: job}, event.Retried{JobID: job, Attempt: 1}, event.Failed{JobID: job, Attempt: 1},
	} {
		_, err := logs.Update(k.Context(), job, nil, func(event.Log) (event.Event, error) { return e, nil })
		must(t, err)
	}
	must(t, b.Publish(k.Context(), event.Progressed{JobID: job, Attempt: 1, Percent: 40, Message: "secret"}))
	log, err := logs.Read(k.Context(), job)
	must(t, err)
	return log
}

// erase appends the event `erased` to a job's log and returns its sequence.
func erase(t *testing.T, k *testkit.Kit, logs *joblog.Store, job string) uint64 {
	t.Helper()
	log, err := logs.Update(k.Context(), job, nil, func(event.Log) (event.Event, error) { return event.Erased{JobID: job}, nil })
	must(t, err)
	return log.Seq()
}

func TestAPurgedLogRefusesEveryAppend(t *testing.T) {
	t.Parallel()
	k, b, logs := open(t)
	log := appendHistory(t, k, b, logs)
	job := log[0].Event.Job()
	must(t, logs.Purge(k.Context(), job, erase(t, k, logs, job)))
	for _, after := range []uint64{0, log[0].Seq, log.Seq()} {
		if _, err := logs.Append(k.Context(), event.Attempted{JobID: job, Attempt: 2}, after); !errors.Is(err, event.ErrLogConflict) {
			t.Errorf("after %d: %v", after, err)
		}
	}
	if _, err := logs.Append(k.Context(), event.Received{JobID: job}, 0); !errors.Is(err, event.ErrLogConflict) {
		t.Errorf("opened again: %v", err)
	}
	if names := k.EventNames(b, job); !slices.Equal(names, []event.Name{event.NameErased}) {
		t.Errorf("names %v", names)
	}
}

func TestAnEventThatIsPurgedInProgressIsSettledAndNotRedelivered(t *testing.T) {
	t.Parallel()
	for name, dies := range map[string]bool{"by its handler": false, "by the end of its AckWait": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, b, logs := open(t)
			job := k.Receive(b)
			cons, err := k.JetStream().CreateConsumer(k.Context(), k.Namespace().Stream("AUDIO_JOBS"), jetstream.ConsumerConfig{
				Durable: "copier", FilterSubject: k.Namespace().Subject(event.Filter(event.NameReceived)),
				AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Second,
			})
			must(t, err)
			msg, err := cons.Next(jetstream.FetchContext(k.Context()))
			must(t, err)
			seq := erase(t, k, logs, job)
			if done, err := b.Settled(k.Context(), "copier", seq); err != nil || done {
				t.Errorf("settled: %v %v", done, err)
			}
			must(t, logs.Purge(k.Context(), job, seq))
			if !dies {
				must(t, msg.DoubleAck(k.Context()))
			}
			given := make(chan string, 10)
			k.Start(func(ctx context.Context) error {
				return b.Consume(ctx, bus.Consumer{
					Name: "copier", Filters: []string{event.Filter(event.NameReceived)}, Concurrency: 4,
					AckWait: time.Second, Grace: 10 * time.Second,
					Handle: func(_ context.Context, d bus.Delivery) error { given <- d.Job; return nil },
				})
			})
			testkit.Eventually(t, func() error {
				done, err := b.Settled(k.Context(), "copier", seq)
				if err == nil && !done {
					err = errors.New("not settled")
				}
				return err
			})
			later := k.Receive(b)
			k.Settled("copier")
			if got := <-given; got != later || len(given) > 0 {
				t.Errorf("given %s and %d others, want %s alone", got, len(given), later)
			}
		})
	}
}
