package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Scan calls handle with every message in the stream whose subject matches one of the filters,
// oldest first. It leaves out messages that are stored after its start. If bodies is false, the
// messages have no bodies, which makes the scan much faster. An error of handle ends the scan and
// is returned unchanged.
func (s *Stream) Scan(ctx context.Context, bodies bool, filters []string, handle func(Message) error) error {
	tried := "scan stream " + s.name
	cons, last, err := s.orderedConsumer(ctx, bodies, filters)
	if err != nil || cons == nil {
		return err
	}
	messages, err := cons.Messages()
	if err != nil {
		return translate(tried, err)
	}
	defer messages.Stop()
	for {
		msg, err := nextMessage(ctx, messages)
		if err != nil {
			return translate(tried, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("%s: %w", tried, err)
		}
		if meta.Sequence.Stream <= last {
			m := Message{
				Subject: s.bus.cfg.Namespace.Strip(msg.Subject()), Header: msg.Headers(), Data: msg.Data(),
				Seq: meta.Sequence.Stream, Time: meta.Timestamp,
			}
			if err := handle(m); err != nil {
				return err
			}
		}
		if meta.NumPending == 0 || meta.Sequence.Stream >= last {
			return nil
		}
	}
}

// orderedConsumer makes a consumer for a scan. It also returns the last sequence of the stream, at
// which the scan ends: on a busy stream it would otherwise never end. The consumer is nil if there
// is nothing to read.
func (s *Stream) orderedConsumer(ctx context.Context, bodies bool, filters []string) (jetstream.Consumer, uint64, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	stream, err := s.open(ctx)
	if err != nil || stream.CachedInfo().State.Msgs == 0 {
		return nil, 0, err
	}
	subjects := make([]string, len(filters))
	for i, f := range filters {
		subjects[i] = s.bus.cfg.Namespace.Subject(f)
	}
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: subjects, HeadersOnly: !bodies})
	if err != nil {
		return nil, 0, translate("scan stream "+s.name, err)
	}
	info, err := cons.Info(ctx)
	if err != nil || info.NumPending == 0 {
		return nil, 0, translate("scan stream "+s.name, err)
	}
	return cons, stream.CachedInfo().State.LastSeq, nil
}

// nextMessage waits for the next message, at most for requestTimeout.
func nextMessage(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}
