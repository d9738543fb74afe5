package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Forget removes what the streams hold of a job that was erased at a sequence: the
// log before it, the progress, and the letters of what the log held. The erasure
// stays, so that the log refuses whatever else is said of the job. Who has one of
// the removed events in hand may settle it as ever, but nobody is given it again:
// whoever relies on that has it settled first (Settled).
func (b *Bus) Forget(ctx context.Context, job string, erased uint64) error {
	log := jetstream.WithPurgeSubject(b.cfg.Namespace.Subject(event.LogSubject(job)))
	if err := b.purgeJobs(ctx, "forget the log of job "+job, log, jetstream.WithPurgeSequence(erased)); err != nil { // not including it
		return err
	}
	progress := jetstream.WithPurgeSubject(b.cfg.Namespace.Subject(event.ProgressSubject(job)))
	if err := b.purgeJobs(ctx, "forget the progress of job "+job, progress); err != nil {
		return err
	}
	return b.forgetLetters(ctx, job)
}

// purgeJobs removes messages from the stream of jobs.
func (b *Bus) purgeJobs(ctx context.Context, tried string, opts ...jetstream.StreamPurgeOpt) error {
	ctx, cancel := within(ctx)
	defer cancel()
	stream, err := b.stream(ctx, event.Jobs())
	if err != nil {
		return err
	}
	return translate(tried, stream.Purge(ctx, opts...))
}

// forgetLetters drops a job's letters, but for one of its erasure, which somebody
// has yet to see to.
func (b *Bus) forgetLetters(ctx context.Context, job string) error {
	var letters []uint64
	err := b.scan(ctx, event.Dead(), false, []string{event.AllDead}, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		of, name, err := event.ParseSubject(msg.Headers().Get(HeaderSubject))
		if err == nil && of == job && name != event.NameErased {
			letters = append(letters, meta.Sequence.Stream)
		}
		return nil //nolint:nilerr // a letter that names no job is of none
	})
	if err != nil {
		return err
	}
	for _, seq := range letters {
		if err := b.DropLetter(ctx, seq); err != nil && !fault.Is(err, fault.NotFound) {
			return fmt.Errorf("forget job %s: %w", job, err)
		}
	}
	return nil
}
