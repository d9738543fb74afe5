package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/trace"
)

// Extent is what a stream holds.
type Extent struct {
	Messages    uint64
	First, Last uint64    // sequences
	Since       time.Time // when the oldest message came in
	Full        float64   // the part of its limits that is taken: at 1 it refuses what comes
}

// Extent tells what a stream holds.
func (b *Bus) Extent(ctx context.Context, s event.Stream) (Extent, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	stream, err := b.stream(ctx, s)
	if err != nil {
		return Extent{}, err
	}
	info := stream.CachedInfo()
	state, limits := info.State, info.Config
	return Extent{
		Messages: state.Msgs, First: state.FirstSeq, Last: state.LastSeq, Since: state.FirstTime,
		Full: max(part(state.Bytes, limits.MaxBytes), part(state.Msgs, limits.MaxMsgs)),
	}, nil
}

// part is how much of a limit is taken; nothing where there is none.
func part(taken uint64, limit int64) float64 {
	if limit <= 0 {
		return 0
	}
	return float64(taken) / float64(limit)
}

// Standing is how far a consumer of the stream of jobs is.
type Standing struct {
	Floor   uint64 // every event up to this sequence that it hears is settled
	Pending uint64 // events that it has not been given yet
	InHand  int    // given and not settled
}

// Standing tells how far a consumer is; false where there is none of that name.
func (b *Bus) Standing(ctx context.Context, consumer string) (Standing, bool, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	c, err := b.js.Consumer(ctx, b.cfg.Namespace.Stream(event.Jobs().Name), consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return Standing{}, false, nil
	}
	if err != nil {
		return Standing{}, false, translate("find consumer "+consumer, err)
	}
	info := c.CachedInfo()
	return Standing{Floor: info.AckFloor.Stream, Pending: info.NumPending, InHand: info.NumAckPending}, true, nil
}

// Settled reports whether a consumer has nothing in hand of what it was given up
// to a sequence. It knows of what the stream still holds.
func (b *Bus) Settled(ctx context.Context, consumer string, seq uint64) (bool, error) {
	s, found, err := b.Standing(ctx, consumer)
	return err == nil && (!found || s.InHand == 0 || s.Floor >= seq), err
}

// Scan shows see every message that a stream holds now below the filters, oldest
// first, with the id of its trace ("" where it has none). Without bodies it costs
// a fraction. An error of see ends the scan and is returned as it is.
func (b *Bus) Scan(ctx context.Context, s event.Stream, bodies bool, filters []string, see func(m Message, trace string) error) error {
	return b.scan(ctx, s, bodies, filters, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		return see(Message{
			Subject: b.cfg.Namespace.Strip(msg.Subject()), Data: msg.Data(), Seq: meta.Sequence.Stream, Time: meta.Timestamp,
		}, trace.IDOf(msg.Headers().Get(trace.Header)))
	})
}

func (b *Bus) scan(ctx context.Context, s event.Stream, bodies bool, filters []string, see func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	tried := "scan stream " + s.Name
	cons, last, err := b.reader(ctx, s, bodies, filters)
	if err != nil || cons == nil {
		return err
	}
	messages, err := cons.Messages()
	if err != nil {
		return translate(tried, err)
	}
	defer messages.Stop()
	for {
		msg, err := next(ctx, messages)
		if err != nil {
			return translate(tried, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("%s: %w", tried, err)
		}
		if meta.Sequence.Stream <= last {
			if err := see(msg, meta); err != nil {
				return err
			}
		}
		if meta.NumPending == 0 || meta.Sequence.Stream >= last {
			return nil
		}
	}
}

// reader makes a consumer for a scan, and tells the sequence at which it ends: what
// comes later would make a busy stream's scan endless. It is nil where there is
// nothing to read.
func (b *Bus) reader(ctx context.Context, s event.Stream, bodies bool, filters []string) (jetstream.Consumer, uint64, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	stream, err := b.stream(ctx, s)
	if err != nil || stream.CachedInfo().State.Msgs == 0 {
		return nil, 0, err
	}
	subjects := make([]string, len(filters))
	for i, f := range filters {
		subjects[i] = b.cfg.Namespace.Subject(f)
	}
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: subjects, HeadersOnly: !bodies})
	if err != nil {
		return nil, 0, translate("scan stream "+s.Name, err)
	}
	info, err := cons.Info(ctx)
	if err != nil || info.NumPending == 0 {
		return nil, 0, translate("scan stream "+s.Name, err)
	}
	return cons, stream.CachedInfo().State.LastSeq, nil
}

// next waits for a message no longer than for an answer of the server.
func next(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}

// stream finds a stream. One that does not exist was never ensured, so no service
// has run here yet.
func (b *Bus) stream(ctx context.Context, s event.Stream) (jetstream.Stream, error) {
	stream, err := b.js.Stream(ctx, b.cfg.Namespace.Stream(s.Name))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fault.Wrap(fault.NotFound, "stream-not-found", "There is no stream "+s.Name+": no service has run here yet.", err)
	}
	return stream, translate("find stream "+s.Name, err)
}
