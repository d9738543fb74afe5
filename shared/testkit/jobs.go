package testkit

import (
	"errors"
	"fmt"

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

// EventNames is a job's log as the names of its events.
func (k *Kit) EventNames(b *bus.Bus, job string) []event.Name {
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
