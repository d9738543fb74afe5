package deadletter_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/shared/bus"
	"sori.internal/shared/deadletter"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
	"sori.internal/shared/trace"
)

func open(t *testing.T) (*testkit.Kit, *bus.Bus, *deadletter.Store) {
	t.Helper()
	k := testkit.New(t)
	b := k.Bus("tester", event.Jobs(), event.Dead(), event.Staging())
	return k, b, deadletter.New(b)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func consumer(name string, handle func(context.Context, bus.Delivery) error) bus.Consumer {
	return bus.Consumer{
		Name: name, Filters: []string{event.Filter(event.NameReceived)}, Concurrency: 4,
		AckWait: 2 * time.Second, Grace: 10 * time.Second, Handle: handle,
	}
}

// rejecting starts a consumer that rejects every event until accept is called. Later deliveries and
// the ids of their traces are sent on the returned channels.
func rejecting(t *testing.T, k *testkit.Kit, b *bus.Bus, name string) (accept func(), given <-chan bus.Delivery, traces <-chan string) {
	t.Helper()
	var accepting atomic.Bool
	deliveries, ids := make(chan bus.Delivery, 10), make(chan string, 10)
	k.Start(func(ctx context.Context) error {
		return b.Consume(ctx, consumer(name, func(ctx context.Context, d bus.Delivery) error {
			if !accepting.Load() {
				return fault.Wrap(fault.Invalid, "data-refused", "The data cannot be stored.", errors.New("password=hunter2"))
			}
			deliveries <- d
			ids <- trace.ID(ctx)
			return nil
		}))
	})
	return func() { accepting.Store(true) }, deliveries, ids
}

func TestADeletedDeadLetterIsGoneAndItsEventIsNot(t *testing.T) {
	t.Parallel()
	k, b, dead := open(t)
	rejecting(t, k, b, "rejecting")
	job := k.Receive(b)
	k.Settled("rejecting")
	for _, c := range []struct {
		consumer string
		want     int
	}{{"", 1}, {"rejecting", 1}, {"another", 0}} {
		if letters, err := dead.List(k.Context(), c.consumer); err != nil || len(letters) != c.want {
			t.Errorf("%q has the letters %+v, %v", c.consumer, letters, err)
		}
	}
	l, err := dead.Get(k.Context(), 1)
	if err != nil || l.Job != job {
		t.Errorf("letter %+v, %v", l, err)
	}
	must(t, dead.Delete(k.Context(), 1))
	if _, err := dead.Get(k.Context(), 1); !fault.Is(err, fault.NotFound) {
		t.Errorf("read after the deletion: %v", err)
	}
	if err := dead.Delete(k.Context(), 1); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if names := k.EventNames(b, job); !slices.Equal(names, []event.Name{event.NameReceived}) {
		t.Errorf("names %v", names)
	}
}

// appendHistory appends the events of a job's log, two of them on the same subject, publishes
// progress, and returns the log.
func appendHistory(t *testing.T, k *testkit.Kit, b *bus.Bus) event.Log {
	t.Helper()
	job := k.Receive(b)
	for _, e := range []event.Event{
		event.Stored{JobID: job}, event.Failed{JobID: job}, event.Retried{JobID: job, Attempt: 1}, event.Failed{JobID: job, Attempt: 1},
	} {
		_, err := joblog.New(b).Update(k.Context(), job, nil, func(event.Log) (event.Event, error) { return e, nil })
		must(t, err)
	}
	must(t, b.Publish(k.Context(), event.Progressed{JobID: job, Attempt: 1, Percent: 40, Message: "secret"}))
	log, err := joblog.New(b).Read(k.Context(), job)
	must(t, err)
	return log
}

// erase appends the event `erased` to a job's log and returns its sequence.
func erase(t *testing.T, k *testkit.Kit, b *bus.Bus, job string) uint64 {
	t.Helper()
	log, err := joblog.New(b).Update(k.Context(), job, nil, func(event.Log) (event.Event, error) { return event.Erased{JobID: job}, nil })
	must(t, err)
	return log.Seq()
}

func TestOfAnErasedJobOnlyItsErasedEventIsLeft(t *testing.T) {
	t.Parallel()
	k, b, dead := open(t)
	stop := k.Start(func(ctx context.Context) error {
		return b.Consume(ctx, consumer("rejecting", func(context.Context, bus.Delivery) error {
			return fault.New(fault.Invalid, "data-refused", "The data cannot be stored.")
		}))
	})
	gone, kept := appendHistory(t, k, b), appendHistory(t, k, b)
	k.Settled("rejecting")
	stop()
	job, other := gone[0].Event.Job(), kept[0].Event.Job()
	seq := erase(t, k, b, job)
	for range 2 {
		must(t, errors.Join(joblog.New(b).Purge(k.Context(), job, seq), dead.DeleteOfJob(k.Context(), job)))
		log, err := joblog.New(b).Read(k.Context(), job)
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
	letters, err := dead.List(k.Context(), "")
	must(t, err)
	if len(letters) != 1 || letters[0].Job != other {
		t.Errorf("letters %+v", letters)
	}
}

func TestADeadLetterOfAnErasedEventIsKept(t *testing.T) {
	t.Parallel()
	k, b, dead := open(t)
	k.Start(func(ctx context.Context) error {
		c := consumer("rejecting", func(context.Context, bus.Delivery) error {
			return fault.New(fault.Forbidden, "denied", "The bucket may not be changed.")
		})
		c.Filters = []string{event.Filter(event.NameErased)}
		return b.Consume(ctx, c)
	})
	log := appendHistory(t, k, b)
	job := log[0].Event.Job()
	seq := erase(t, k, b, job)
	k.Settled("rejecting")
	must(t, errors.Join(joblog.New(b).Purge(k.Context(), job, seq), dead.DeleteOfJob(k.Context(), job)))
	letters, err := dead.List(k.Context(), "rejecting")
	must(t, err)
	if len(letters) != 1 || letters[0].EventSeq != seq {
		t.Errorf("letters %+v", letters)
	}
}

// The stream of dead letters keeps every dead letter as long as the others, and refuses a message with a
// lifetime of its own.
func TestADeadLetterOutlivesItsEvent(t *testing.T) {
	t.Parallel()
	k, b, dead := open(t)
	k.Start(func(ctx context.Context) error {
		c := consumer("rejecting", func(context.Context, bus.Delivery) error { return fault.New(fault.Invalid, "data-refused", "") })
		c.Filters = []string{event.Filter(event.NameWaiting)}
		return b.Consume(ctx, c)
	})
	must(t, b.Publish(k.Context(), event.Waiting{JobID: k.NewJob(), Attempt: 1, Until: time.Now().Add(time.Hour), Code: "c"}))
	testkit.Eventually(t, func() error {
		letters, err := dead.List(k.Context(), "rejecting")
		if err == nil && len(letters) != 1 {
			err = errors.New("no dead letter")
		}
		return err
	})
}

// If the erasure of each job read all dead letters, those that an operator leaves would slow down all
// erasures.
func TestDeadLettersAreReadOnceForAllErasures(t *testing.T) {
	t.Parallel()
	k, b, dead := open(t)
	rejecting(t, k, b, "rejecting")
	jobs := make([]string, 20)
	for i := range jobs {
		jobs[i] = k.Receive(b)
	}
	k.Settled("rejecting")
	reads, err := k.JetStream().Conn().SubscribeSync("$JS.API.STREAM.MSG.GET." + k.Namespace().Stream(event.Dead().Name))
	must(t, err)
	must(t, k.JetStream().Conn().Flush())
	for i, job := range jobs {
		must(t, dead.DeleteOfJob(k.Context(), job))
		letters, err := dead.List(k.Context(), "")
		must(t, err)
		if left := len(jobs) - i - 1; len(letters) != left {
			t.Fatalf("%d dead letters are left of %d", len(letters), left)
		}
	}
	must(t, k.JetStream().Conn().Flush())
	if n, _, err := reads.Pending(); n > len(jobs)+1 || err != nil {
		t.Errorf("%d reads, %v", n, err)
	}
	late := k.Receive(b)
	k.Settled("rejecting")
	must(t, dead.DeleteOfJob(k.Context(), late))
	stream := k.Namespace().Stream(event.Dead().Name)
	must(t, k.JetStream().DeleteStream(k.Context(), stream))
	must(t, b.Ensure(k.Context(), event.Dead()))
	again := k.Receive(b)
	k.Settled("rejecting")
	must(t, dead.DeleteOfJob(k.Context(), again))
	if letters, err := dead.List(k.Context(), ""); err != nil || len(letters) != 0 {
		t.Errorf("after the stream was made again: %+v, %v", letters, err)
	}
}
