package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Staging is a claim check: bodies too large for an event lie here, in chunks of
// their own, and the event names the entry. A small body is one message.
//
// The client library's Object Store does the same with an unbounded number of
// chunks under way, which overruns the server's ingest queue (128 MiB) with any
// body that arrives faster than the disk; here a window bounds them.
const (
	chunkSize   = 256 << 10
	chunkWindow = 8
)

// awayCleanup bounds the removal of an entry that could not be stored because the
// bus is away. What it leaves is the sweeper's.
const awayCleanup = time.Second

// chunkBuffers holds the buffers of uploads that ended for those that begin.
type chunkBuffers struct{ pool sync.Pool }

func (p *chunkBuffers) get() *[chunkSize]byte {
	if b, ok := p.pool.Get().(*[chunkSize]byte); ok {
		return b
	}
	return new([chunkSize]byte)
}

// Stage stores r as the named entry and returns when all of it is durable.
// Memory is bounded by one chunk here and a window of chunks on the way. Where
// reading or storing fails, what was stored is removed again and the reader's
// error is returned as it is.
func (b *Bus) Stage(ctx context.Context, entry string, r io.Reader) (event.Staged, error) {
	var window []jetstream.PubAckFuture
	s, err := b.stage(ctx, entry, r, &window)
	if err != nil {
		limit := requestTimeout
		if fault.Is(err, fault.Unavailable) { // the caller has waited, and probably in vain
			limit = awayCleanup
		}
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		for _, future := range window { // a chunk still on its way could arrive behind the removal
			_ = acked(cleanup, future)
		}
		if s.Chunks > 0 {
			err = errors.Join(err, b.Unstage(cleanup, entry))
		}
		return event.Staged{}, err
	}
	return s, nil
}

// stage leaves in window the chunks whose answer is not known yet.
func (b *Bus) stage(ctx context.Context, entry string, r io.Reader, window *[]jetstream.PubAckFuture) (event.Staged, error) {
	buf := b.buffers.get()
	defer b.buffers.pool.Put(buf)
	s := event.Staged{Entry: entry}
	for {
		n, readErr := fill(r, buf[:])
		if n > 0 {
			if len(*window) == chunkWindow {
				first := (*window)[0]
				*window = (*window)[1:] // an answer can be read once
				if err := acked(ctx, first); err != nil {
					return s, err
				}
			}
			future, err := b.sendChunk(entry, s.Chunks, buf[:n])
			if err != nil {
				return s, err
			}
			*window = append(*window, future)
			s.Chunks, s.Size = s.Chunks+1, s.Size+int64(n)
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			return s, readErr
		}
	}
	for len(*window) > 0 {
		first := (*window)[0]
		*window = (*window)[1:]
		if err := acked(ctx, first); err != nil {
			return s, err
		}
	}
	return s, nil
}

// fill reads until buf is full or r ends. Unlike io.ReadFull it returns r's own
// error, so that a body cut short is never taken for one that ended.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// sendChunk publishes a chunk without waiting. The client library has written
// data to its connection when this returns, and does not try again by itself,
// so that the caller may reuse data.
func (b *Bus) sendChunk(entry string, chunk int, data []byte) (jetstream.PubAckFuture, error) {
	msg := &nats.Msg{Subject: b.cfg.Namespace.Subject(event.StagingSubject(entry, chunk)), Data: data}
	future, err := b.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return nil, translate("stage "+entry, err)
	}
	return future, nil
}

func acked(ctx context.Context, future jetstream.PubAckFuture) error {
	timer := time.NewTimer(requestTimeout)
	defer timer.Stop()
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return translate("stage a chunk", err)
	case <-timer.C:
		return fault.Unreachable("message bus", errors.New("stage a chunk: no answer"))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Unstage removes an entry. Removing what is not there is a success.
func (b *Bus) Unstage(ctx context.Context, entry string) error {
	ctx, cancel := within(ctx)
	defer cancel()
	stream, err := b.js.Stream(ctx, b.cfg.Namespace.Stream(event.Staging().Name))
	if err != nil {
		return translate("unstage "+entry, err)
	}
	err = stream.Purge(ctx, jetstream.WithPurgeSubject(b.cfg.Namespace.Subject(event.StagingFilter(entry))))
	return translate("unstage "+entry, err)
}

// OpenStaged reads an entry from its beginning. It fails at once where the
// entry's first chunk is not there (event.ErrStagingGone), and in the middle where a
// later one is not. It holds one chunk at a time.
func (b *Bus) OpenStaged(ctx context.Context, s event.Staged) (io.Reader, error) {
	r := &stagedReader{ctx: ctx, bus: b, staged: s}
	if err := r.load(); err != nil {
		return nil, err
	}
	return r, nil
}

type stagedReader struct {
	ctx    context.Context //nolint:containedctx // of one copy, which this reader does not outlive
	bus    *Bus
	staged event.Staged
	next   int
	rest   []byte
}

func (r *stagedReader) load() error {
	if r.next == r.staged.Chunks {
		return io.EOF
	}
	m, err := r.bus.Last(r.ctx, event.Staging(), event.StagingSubject(r.staged.Entry, r.next))
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("read chunk %d of %s: %w", r.next, r.staged.Entry, event.ErrStagingGone)
	}
	r.next, r.rest = r.next+1, m.Data
	return nil
}

// Read implements io.Reader.
func (r *stagedReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if err := r.load(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// StagedEntries lists what lies in staging, by entry, with the number of chunks.
func (b *Bus) StagedEntries(ctx context.Context) (map[string]int, error) {
	return b.stagedEntries(ctx, event.AllStaging)
}

// StagedChunks tells how many chunks of an entry lie in staging; 0 where it is
// gone.
func (b *Bus) StagedChunks(ctx context.Context, entry string) (int, error) {
	entries, err := b.stagedEntries(ctx, event.StagingFilter(entry))
	return entries[entry], err
}

func (b *Bus) stagedEntries(ctx context.Context, filter string) (map[string]int, error) {
	ctx, cancel := within(ctx)
	defer cancel()
	stream, err := b.js.Stream(ctx, b.cfg.Namespace.Stream(event.Staging().Name))
	if err != nil {
		return nil, translate("list staging", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(b.cfg.Namespace.Subject(filter)))
	if err != nil {
		return nil, translate("list staging", err)
	}
	entries := map[string]int{}
	for subject := range info.State.Subjects {
		if entry, ok := event.ParseStagingSubject(b.cfg.Namespace.Strip(subject)); ok {
			entries[entry]++
		}
	}
	return entries, nil
}
