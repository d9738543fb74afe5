package bus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

func TestABatchIsHandledAsAWholeAndABadEventAlone(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	const jobs = 100
	var bad string
	for i := range jobs {
		job := k.Receive(b)
		if i == 57 {
			bad = job
		}
	}
	var mu sync.Mutex
	done, largest := map[string]int{}, 0
	k.Start(func(ctx context.Context) error {
		return b.ConsumeBatches(ctx, bus.Batches{
			Consumer: consumer("batches", nil), Size: 64,
			Handle: func(_ context.Context, batch []bus.Delivery) error {
				mu.Lock()
				defer mu.Unlock()
				largest = max(largest, len(batch))
				for _, d := range batch {
					if d.Job == bad {
						return fault.New(fault.Invalid, "data-refused", "no")
					}
				}
				for _, d := range batch {
					done[d.Job]++
				}
				return nil
			},
		})
	})
	k.Settled("batches")
	mu.Lock()
	defer mu.Unlock()
	if len(done) != jobs-1 || done[bad] != 0 {
		t.Errorf("%d handled, the bad %d times", len(done), done[bad])
	}
	if largest < 2 || largest > 64 {
		t.Errorf("the largest batch had %d", largest)
	}
	dead, err := k.JetStream().Stream(k.Context(), k.Namespace().Stream("AUDIO_DEAD"))
	must(t, err)
	if m, err := dead.GetLastMsgForSubject(k.Context(), k.Namespace().Subject("audio.dead.batches")); err != nil ||
		m.Header.Get("Sori-Subject") != event.SubjectOf(bad, event.NameReceived) {
		t.Errorf("%v %v", m, err)
	}
}

func TestABatchWaitsForADependencyAsAWhole(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	for range 10 {
		k.Receive(b)
	}
	var mu sync.Mutex
	failures, done := 0, 0
	k.Start(func(ctx context.Context) error {
		return b.ConsumeBatches(ctx, bus.Batches{
			Consumer: consumer("waits", nil), Size: 64,
			Handle: func(_ context.Context, batch []bus.Delivery) error {
				mu.Lock()
				defer mu.Unlock()
				if failures == 0 {
					failures++
					return fault.Unreachable("database", nil)
				}
				done += len(batch)
				return nil
			},
		})
	})
	k.Settled("waits")
	mu.Lock()
	defer mu.Unlock()
	if done != 10 {
		t.Errorf("%d handled", done)
	}
}

func TestABatchWithAnUrgentEventWaitsNoLonger(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	all := consumer("urgent", nil)
	all.Filters, all.AckWait = nil, time.Hour
	batches := make(chan []bus.Delivery, 8)
	k.Start(func(ctx context.Context) error {
		return b.ConsumeBatches(ctx, bus.Batches{
			Consumer: all, Size: 64, Wait: time.Hour, Urgent: event.Name.Terminal,
			Handle: func(_ context.Context, batch []bus.Delivery) error {
				batches <- batch
				return nil
			},
		})
	})
	var want []string
	for range 3 {
		want = append(want, k.Receive(b))
	}
	must(t, b.Publish(k.Context(), event.Failed{JobID: want[0]}))
	select {
	case batch := <-batches:
		var got []string
		for _, d := range batch {
			got = append(got, d.Job)
		}
		if !slices.Equal(got, append(want, want[0])) {
			t.Errorf("the batch is of %v, want %v and the first again", got, want)
		}
	case <-k.Context().Done():
		t.Error("the urgent event waits")
	}
}

func TestABatchThatIsDelayedIsLoggedOnce(t *testing.T) {
	t.Parallel()
	k, direct := open(t)
	const events = 50
	for range events {
		k.Receive(direct)
	}
	var cfg bus.Config
	k.Load(&cfg)
	b, err := bus.Open(cfg, "tester", k.Log().Level(zerolog.InfoLevel))
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	var failures atomic.Int64
	k.Start(func(ctx context.Context) error {
		return b.ConsumeBatches(ctx, bus.Batches{
			Consumer: consumer("delayed", nil), Size: 64,
			Handle: func(context.Context, []bus.Delivery) error {
				if failures.Add(1) <= 3 {
					return fault.Unreachable("database", nil)
				}
				return nil
			},
		})
	})
	k.Settled("delayed")
	logged := k.Logged()
	if n := strings.Count(logged, "batch delayed"); n != 3 {
		t.Errorf("%d batches were delayed", n)
	}
	if n := strings.Count(logged, `"level":"warn"`); n > 5 {
		t.Errorf("%d warnings of %d events: %s", n, events, logged)
	}
}

// While a batch is handled slowly, neither its events nor those that wait for the next batch may be
// redelivered, to another replica, for example.
func TestEventsOfASlowBatchAndThoseBehindItAreNotRedelivered(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	begun, release := make(chan struct{}, 2), make(chan struct{})
	k.Receive(b)
	k.Start(func(ctx context.Context) error {
		return b.ConsumeBatches(ctx, bus.Batches{
			Consumer: consumer("slow", nil), Size: 1,
			Handle: func(context.Context, []bus.Delivery) error {
				begun <- struct{}{}
				<-release
				return nil
			},
		})
	})
	<-begun
	k.Receive(b)
	other, err := k.JetStream().Consumer(k.Context(), k.Namespace().Stream(event.Jobs().Name), "slow")
	must(t, err)
	testkit.Eventually(t, func() error {
		info, err := other.Info(k.Context())
		if err == nil && info.NumAckPending < 2 {
			err = errors.New("the second event is not delivered")
		}
		return err
	})
	batch, err := other.Fetch(2, jetstream.FetchMaxWait(5*time.Second)) // longer than twice the AckWait of the consumer
	must(t, err)
	for msg := range batch.Messages() {
		t.Errorf("%s was redelivered", msg.Subject())
	}
	close(release)
	k.Settled("slow")
}
