package testkit

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// NewJob makes a job id.
func (k *Kit) NewJob() string {
	k.t.Helper()
	id, err := event.NewJobID()
	if err != nil {
		k.t.Fatal(err)
	}
	return id
}

// Settled waits until a consumer of the jobs' log has nothing left to do.
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
			// The server tells of a consumer before it has counted what the consumer is to get.
			return fmt.Errorf("nobody has asked %s for an event yet", consumer)
		case info.NumAckPending > 0 || info.NumPending > 0:
			return fmt.Errorf("%s has %d events to come and %d in hand", consumer, info.NumPending, info.NumAckPending)
		}
		return nil
	})
}

// HandleAgain has a consumer of the jobs' log handle every event again, as if it had been lost.
func (k *Kit) HandleAgain(consumer string) {
	k.t.Helper()
	if err := k.JetStream().DeleteConsumer(k.Context(), k.Namespace().Stream(event.Jobs().Name), consumer); err != nil {
		k.t.Fatal(err)
	}
	k.Settled(consumer)
}

// Append adds an event to the end of its job's log.
func (k *Kit) Append(b *bus.Bus, e event.Event) {
	k.t.Helper()
	if _, err := b.Decide(k.Context(), e.Job(), nil, func(event.Log) (event.Event, error) { return e, nil }); err != nil {
		k.t.Fatal(err)
	}
}

// AppendUnlessEnded adds an event to the end of its job's log if the job has not ended. It may be
// called in goroutines other than the test's.
func (k *Kit) AppendUnlessEnded(b *bus.Bus, e event.Event) {
	k.t.Helper()
	_, err := b.Decide(k.Context(), e.Job(), nil, func(log event.Log) (event.Event, error) {
		if _, ended := log.Ending(); ended {
			return nil, nil
		}
		return e, nil
	})
	if err != nil {
		k.t.Error(err)
	}
}

// LogOf makes a job's log of events: the first has sequence 1 and the given time, each further one
// comes a second later.
func LogOf(began time.Time, events ...event.Event) event.Log {
	log := make(event.Log, len(events))
	for i, e := range events {
		log[i] = event.Record{Event: e, Seq: uint64(i + 1), Time: began.Add(time.Duration(i) * time.Second)}
	}
	return log
}

// Messages returns the messages of a stream, in the order that they came in.
func (k *Kit) Messages(s event.Stream) []*jetstream.RawStreamMsg {
	k.t.Helper()
	ctx := k.Context()
	stream, err := k.JetStream().Stream(ctx, k.Namespace().Stream(s.Name))
	if err != nil {
		k.t.Fatal(err)
	}
	state := stream.CachedInfo().State
	var found []*jetstream.RawStreamMsg
	for seq := state.FirstSeq; seq != 0 && seq <= state.LastSeq; seq++ {
		m, err := stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // purged
		}
		if err != nil {
			k.t.Fatal(err)
		}
		m.Subject = k.Namespace().Strip(m.Subject)
		found = append(found, m)
	}
	return found
}

// Await waits until a job's log has an event of one type and returns it.
func Await[E event.Event](k *Kit, b *bus.Bus, job string) E {
	k.t.Helper()
	var found E
	ctx := k.Context()
	Eventually(k.t, func() error {
		log, err := b.Log(ctx, job)
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

// Story is a job's log as the names of its events.
func (k *Kit) Story(b *bus.Bus, job string) []event.Name {
	k.t.Helper()
	log, err := b.Log(k.Context(), job)
	if err != nil {
		k.t.Fatal(err)
	}
	names := make([]event.Name, len(log))
	for i, r := range log {
		names[i] = r.Event.Name()
	}
	return names
}
