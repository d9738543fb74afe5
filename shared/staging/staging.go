// Package staging stores bodies that are too large for an event: recordings on their way to S3, and
// large results on their way to the database. The event names the entry (a claim check).
//
// An entry is stored in a stream of NATS, in chunks of 256 KiB. Put returns an entry when every
// chunk is durable. If Put fails, it removes the stored chunks. Chunks that remain because the
// removal fails, or because the process dies, belong to no event, and a sweeper removes them.
//
// The Object Store of the client library does the same, but does not limit the number of
// unacknowledged chunks: a body that arrives faster than the server's disk writes then overruns the
// server's ingest queue of 128 MiB. This package limits this number.
package staging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

const (
	chunkSize   = 256 << 10
	chunkWindow = 8 // maximum number of unacknowledged chunks of one entry
)

// How long the removal of an incomplete entry may take. The sweeper removes chunks that remain
// after this.
const (
	cleanupTimeout            = 5 * time.Second
	cleanupTimeoutUnreachable = time.Second // after a failure of NATS, for which the caller has already waited
)

// Store reads and writes the staged entries. It is safe for concurrent use.
type Store struct {
	bus     *bus.Bus
	stream  *bus.Stream
	buffers sync.Pool // buffers of type *[chunkSize]byte
}

// New makes a Store of the stream of staging.
func New(b *bus.Bus) *Store { return &Store{bus: b, stream: b.Stream(event.Staging())} }

// MaxPayload returns the size of the largest message, in bytes: a larger body must be staged.
func (s *Store) MaxPayload() int64 { return s.bus.MaxPayload() }

// Put stores a body as an entry and returns when all of it is durable. It needs the memory of one
// chunk and, in the client library, of the unacknowledged chunks. If it fails, it removes the
// stored chunks. It returns an error of r unchanged, joined with the error of the removal, if any.
func (s *Store) Put(ctx context.Context, entry string, r io.Reader) (event.Staged, error) {
	w := writer{store: s, staged: event.Staged{Entry: entry}}
	err := w.write(ctx, r)
	if err == nil {
		return w.staged, nil
	}
	limit := cleanupTimeout
	if fault.Is(err, fault.Unavailable) {
		limit = cleanupTimeoutUnreachable
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	for _, ack := range w.window { // a chunk that is not acknowledged yet could be stored after the removal
		_ = ack.Wait(cleanup)
	}
	if w.staged.Chunks > 0 {
		err = errors.Join(err, s.Delete(cleanup, entry))
	}
	return event.Staged{}, err
}

// writer stores one entry.
type writer struct {
	store  *Store
	staged event.Staged  // the chunks that are published so far
	window []*bus.PubAck // acknowledgements that are outstanding
}

// write publishes the chunks of a body and waits until all of them are acknowledged.
func (w *writer) write(ctx context.Context, r io.Reader) error {
	buf, pooled := w.store.buffers.Get().(*[chunkSize]byte)
	if !pooled {
		buf = new([chunkSize]byte)
	}
	defer w.store.buffers.Put(buf)
	for {
		n, readErr := fill(r, buf[:])
		if n > 0 {
			if err := w.publish(ctx, buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			return readErr
		}
	}
	for len(w.window) > 0 {
		if err := w.awaitOldest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// publish publishes the next chunk. If the window is full, it waits for the oldest chunk first.
func (w *writer) publish(ctx context.Context, data []byte) error {
	if len(w.window) == chunkWindow {
		if err := w.awaitOldest(ctx); err != nil {
			return err
		}
	}
	ack, err := w.store.bus.PublishBytes(event.StagingSubject(w.staged.Entry, w.staged.Chunks), data)
	if err != nil {
		return err
	}
	w.window = append(w.window, ack)
	w.staged.Chunks, w.staged.Size = w.staged.Chunks+1, w.staged.Size+int64(len(data))
	return nil
}

// awaitOldest waits for the acknowledgement of the oldest chunk in the window.
func (w *writer) awaitOldest(ctx context.Context) error {
	oldest := w.window[0]
	w.window = w.window[1:] // removed even if Wait fails, since Wait may be called only once
	return oldest.Wait(ctx)
}

// fill reads until buf is full or r returns an error. Unlike io.ReadFull it returns the error of r
// unchanged, so that a truncated body is never mistaken for a complete one.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// Delete removes an entry. It succeeds if there is no such entry.
func (s *Store) Delete(ctx context.Context, entry string) error {
	return s.stream.Purge(ctx, event.StagingFilter(entry), 0)
}

// Entries returns the staged entries and the number of chunks of each.
func (s *Store) Entries(ctx context.Context) (map[string]int, error) {
	return s.entries(ctx, event.AllStaging)
}

// Chunks returns the number of staged chunks of an entry, which is 0 if there is no such entry.
func (s *Store) Chunks(ctx context.Context, entry string) (int, error) {
	entries, err := s.entries(ctx, event.StagingFilter(entry))
	return entries[entry], err
}

func (s *Store) entries(ctx context.Context, filter string) (map[string]int, error) {
	subjects, err := s.stream.Subjects(ctx, filter)
	if err != nil {
		return nil, err
	}
	entries := map[string]int{}
	for _, subject := range subjects {
		if entry, ok := event.ParseStagingSubject(subject); ok {
			entries[entry]++
		}
	}
	return entries, nil
}

// Open returns a reader of an entry, which buffers one chunk at a time. Open fails with
// event.ErrStagingGone if the first chunk is missing; if a later chunk is missing, Read fails with
// the same error.
func (s *Store) Open(ctx context.Context, staged event.Staged) (io.Reader, error) {
	r := &reader{ctx: ctx, stream: s.stream, staged: staged}
	if err := r.load(); err != nil {
		return nil, err
	}
	return r, nil
}

type reader struct {
	ctx    context.Context //nolint:containedctx // context of the one call that reads the entry
	stream *bus.Stream
	staged event.Staged
	next   int    // number of the next chunk
	rest   []byte // unread part of the current chunk
}

// load reads the next chunk.
func (r *reader) load() error {
	if r.next == r.staged.Chunks {
		return io.EOF
	}
	m, err := r.stream.Last(r.ctx, event.StagingSubject(r.staged.Entry, r.next))
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
func (r *reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if err := r.load(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
