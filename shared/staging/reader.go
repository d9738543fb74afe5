package staging

import (
	"context"
	"fmt"
	"io"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

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
