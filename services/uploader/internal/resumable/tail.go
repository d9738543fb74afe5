package resumable

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rs/zerolog"

	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
)

// take takes a buffer for a part. If the upload has a tail, an object with its last bytes, which
// were too few for a part, take reads the tail into the buffer.
func (w *writer) take(ctx context.Context) (err error) {
	if w.buffer, err = w.core.memory.take(ctx, w.size); err != nil {
		return err
	}
	w.turn.Reset(memoryTurn)
	if w.tail == nil {
		return nil
	}
	content, err := w.core.Bucket.Open(ctx, w.tail.Key)
	if err != nil {
		return w.explain(ctx, err)
	}
	defer content.Close()
	if _, err := io.ReadFull(content, w.buffer[:w.tail.Size]); err != nil {
		return fmt.Errorf("read %s: %w", w.tail.Key, err)
	}
	w.loaded, w.filled, w.tail = w.tail.Size, w.tail.Size, nil
	return nil
}

// removeTail removes the object of a tail that is not in the record any more. If this fails, the
// object is removed with the upload.
func (c *Core) removeTail(ctx context.Context, key string) {
	if err := c.Bucket.Remove(ctx, key); err != nil {
		zerolog.Ctx(ctx).Debug().Err(err).Msg("tail not removed")
	}
}

// store stores the bytes in the buffer as the tail, and commits the tail, unless the tail is
// withheld until the end of the request.
func (w *writer) store(ctx context.Context) error {
	fresh := w.filled - w.loaded
	if fresh == 0 {
		return nil
	}
	state, err := state(w.sum)
	if err != nil {
		return err
	}
	w.tails++
	// The key contains the number of the writing request, so that an older request cannot overwrite
	// the tail.
	tail := &Tail{Key: fmt.Sprintf("%s%d-%d", upload.TailPrefix(w.work.JobID), w.work.Writer, w.tails), Size: w.filled}
	body := &loan{rest: w.buffer[:w.filled]}
	defer body.end()
	if err := w.core.Bucket.Put(ctx, upload.Object{Key: tail.Key, Size: tail.Size, MediaType: "application/octet-stream"}, body); err != nil {
		return err
	}
	old := w.work.Tail
	w.work.Offset, w.work.Tail, w.work.Hash = w.work.Offset+fresh, tail, state
	if w.withheld() {
		w.drop(ctx, old)
		return nil
	}
	err = w.commit(ctx)
	if errors.Is(err, event.ErrLogConflict) { // after any other error the record may contain the tail
		w.core.removeTail(context.WithoutCancel(ctx), tail.Key)
	}
	return err
}

// drop removes a tail that this request has stored, but not committed.
func (w *writer) drop(ctx context.Context, tail *Tail) {
	if tail != nil && tail != w.session.Tail {
		w.core.removeTail(ctx, tail.Key)
	}
}
