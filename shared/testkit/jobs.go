package testkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
)

// NewJob returns a new job id.
func (k *Kit) NewJob() string {
	k.t.Helper()
	id, err := event.NewJobID()
	if err != nil {
		k.t.Fatal(err)
	}
	return id
}

// Settled waits until a consumer of the stream of jobs has settled every event.
func (k *Kit) Settled(consumer string) {
	k.t.Helper()
	js, ctx := k.JetStream(), k.Context()
	Eventually(k.t, func() error {
		c, err := js.Consumer(ctx, k.Namespace().Stream(event.Jobs().Name), consumer)
		if err != nil {
			return err
		}
		info, err := c.Info(ctx)
		switch {
		case err != nil:
			return err
		case info.NumWaiting == 0 && info.Delivered.Consumer == 0:
			// The server lists a consumer before it has counted the consumer's events: the numbers
			// below are then 0.
			return fmt.Errorf("nobody has pulled events for %s yet", consumer)
		case info.NumAckPending > 0 || info.NumPending > 0:
			return fmt.Errorf("%s has %d events pending and %d not settled", consumer, info.NumPending, info.NumAckPending)
		}
		return nil
	})
}

// HandleAgain recreates a consumer of the stream of jobs, so that its service handles every event
// again. It waits until all events are settled.
func (k *Kit) HandleAgain(consumer string) {
	k.t.Helper()
	k.Recreate(consumer)
	k.Settled(consumer)
}

// Recreate deletes a consumer of the stream of jobs and creates it with the same configuration.
func (k *Kit) Recreate(consumer string) {
	k.t.Helper()
	js, ctx, stream := k.JetStream(), k.Context(), k.Namespace().Stream(event.Jobs().Name)
	c, err := js.Consumer(ctx, stream, consumer)
	if err != nil {
		k.t.Fatal(err)
	}
	if err := js.DeleteConsumer(ctx, stream, consumer); err != nil {
		k.t.Fatal(err)
	}
	// If a service has already created the consumer, this call changes nothing. While the server
	// removes the files of the deleted consumer, it may be unable to create the consumer again.
	Eventually(k.t, func() error {
		_, err := js.CreateOrUpdateConsumer(ctx, stream, c.CachedInfo().Config)
		return err
	})
}

// Append appends an event to its job's log, whatever the log's last event is.
func (k *Kit) Append(b *bus.Bus, e event.Event) {
	k.t.Helper()
	if _, err := joblog.New(b).Update(k.Context(), e.Job(), nil, func(event.Log) (event.Event, error) { return e, nil }); err != nil {
		k.t.Fatal(err)
	}
}

// AppendUnlessEnded appends an event to its job's log if the job has not ended. It may be called in
// goroutines other than the test's.
func (k *Kit) AppendUnlessEnded(b *bus.Bus, e event.Event) {
	k.t.Helper()
	_, err := joblog.New(b).Update(k.Context(), e.Job(), nil, func(log event.Log) (event.Event, error) {
		if _, ended := log.Terminal(); ended {
			return nil, nil
		}
		return e, nil
	})
	if err != nil {
		k.t.Error(err)
	}
}

// LogOf makes a job's log from events: the first has sequence 1 and the given time, and each
// further event is a second later.
func LogOf(began time.Time, events ...event.Event) event.Log {
	log := make(event.Log, len(events))
	for i, e := range events {
		log[i] = event.Record{Event: e, Seq: uint64(i + 1), Time: began.Add(time.Duration(i) * time.Second)}
	}
	return log
}

// Messages returns the messages of a stream, oldest first.
func (k *Kit) Messages(s event.Stream) []*jetstream.RawStreamMsg {
	k.t.Helper()
	ctx := k.Context()
	stream, err := k.JetStream().Stream(ctx, k.Namespace().Stream(s.Name))
	if err != nil {
		k.t.Fatal(err)
	}
	state := stream.CachedInfo().State
	var found []*jetstream.RawStreamMsg
	for next := state.FirstSeq; next != 0 && next <= state.LastSeq; { // several requests, since a response has a limited size
		batch, err := jetstreamext.GetBatch(ctx, k.JetStream(), k.Namespace().Stream(s.Name), int(state.LastSeq-next)+1, jetstreamext.GetBatchSeq(next))
		if err != nil {
			k.t.Fatal(err)
		}
		before := next
		for m, err := range batch {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				break
			}
			if err != nil {
				k.t.Fatal(err)
			}
			m.Subject, next = k.Namespace().Strip(m.Subject), m.Sequence+1
			found = append(found, m)
		}
		if next == before {
			break // the messages up to LastSeq were purged
		}
	}
	return found
}

// Await waits until a job's log has an event of one type, and returns that event.
func Await[E event.Event](k *Kit, b *bus.Bus, job string) E {
	k.t.Helper()
	var found E
	ctx := k.Context()
	Eventually(k.t, func() error {
		log, err := joblog.New(b).Read(ctx, job)
		if err != nil {
			return err
		}
		e, ok := event.Last[E](log)
		if !ok {
			return fmt.Errorf("job %s has no %s", job, found.Name())
		}
		found = e
		return nil
	})
	return found
}

// EventNames returns the names of the events in a job's log.
func (k *Kit) EventNames(b *bus.Bus, job string) []event.Name {
	k.t.Helper()
	log, err := joblog.New(b).Read(k.Context(), job)
	if err != nil {
		k.t.Fatal(err)
	}
	names := make([]event.Name, len(log))
	for i, r := range log {
		names[i] = r.Event.Name()
	}
	return names
}

// Receive begins a job: it appends the event `received` to the job's log, and returns the job's id.
func (k *Kit) Receive(b *bus.Bus) string {
	k.t.Helper()
	job := k.NewJob()
	if _, err := joblog.New(b).Append(k.Context(), event.Received{JobID: job}, 0); err != nil {
		k.t.Fatal(err)
	}
	return job
}

// Start runs a component until the test ends or stop is called. The component must return without
// an error.
func (k *Kit) Start(run func(context.Context) error) (stop func()) {
	k.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(k.t.Context())) // the test's own context ends before its cleanups
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			k.t.Errorf("the component ended with %v", err)
		}
	})
	k.t.Cleanup(stop)
	return stop
}
