package resumable

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"

	"github.com/rs/zerolog"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
)

// usualParts is into how many parts an upload is divided at most. The numbers up to direct.MaxParts
// are for parts whose request ended before they counted.
const usualParts = 9000

// partSize returns the size of the parts of an upload.
func (c *Core) partSize(u Upload) int64 {
	length := u.Length
	if length == Deferred {
		length = c.Direct.Options().MaxBytes
	}
	return max(direct.MinPart, (length+usualParts-1)/usualParts)
}

// Checksum is what a client says of the bytes of one request.
type Checksum struct {
	Hash hash.Hash // of the bytes
	Want []byte
}

// Write appends the bytes of a request to an upload, and returns how many count. With a checksum, all
// of them count or none. Of a body that breaks off, what has arrived counts.
func (c *Core) Write(ctx context.Context, s *Session, body io.Reader, check *Checksum) (int64, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return 0, tooManyWriters()
	}
	before := s.Offset
	if err := c.takeOver(ctx, s); err != nil {
		return 0, err
	}
	w := &writer{core: c, session: s, work: s.Upload, check: check, size: c.partSize(s.Upload)}
	err := w.run(ctx, body)
	return s.Offset - before, err
}

// takeOver makes a request the one that writes.
func (c *Core) takeOver(ctx context.Context, s *Session) error {
	for offset := s.Offset; ; {
		u := s.Upload
		u.Writer++
		version, err := c.Records.Save(ctx, u, s.version)
		if err == nil {
			s.Upload, s.version = u, version
			return nil
		}
		if !errors.Is(err, event.ErrLogConflict) {
			return err
		}
		found, err := c.Find(ctx, s.Owner, s.JobID)
		if err != nil {
			return err
		}
		if *s = *found; s.Job || s.Offset != offset {
			return OffsetMismatch()
		}
	}
}

// writer writes the bytes of one request. While it sends one part it reads the next one.
type writer struct {
	core    *Core
	session *Session
	work    Upload // the session, with what is sent and does not count yet
	check   *Checksum
	size    int64 // of a part
	sum     hash.Hash
	filled  int        // bytes in the buffer
	sending chan error // receives the result of the part that is being sent; nil if none is
}

func (w *writer) run(ctx context.Context, body io.Reader) error {
	var err error
	if w.sum, err = resume(w.work.Hash); err != nil {
		return err
	}
	buffer, spare := w.core.buffer(w.size), []byte(nil)
	defer func() {
		_ = w.wait() // for a part that is being sent after another failure
		w.core.release(buffer)
		w.core.release(spare)
	}()
	if err := w.loadTail(ctx, buffer); err != nil {
		return err
	}
	for {
		ended, err := w.fill(body, buffer)
		if waitErr := w.wait(); waitErr != nil {
			return waitErr
		}
		if err != nil {
			return err
		}
		if ended {
			return w.end(ctx, buffer[:w.filled])
		}
		if err := w.begin(ctx, buffer); err != nil {
			return err
		}
		if spare == nil {
			spare = w.core.buffer(w.size)
		}
		buffer, spare, w.filled = spare, buffer, 0
	}
}

// loadTail reads the tail into the buffer.
func (w *writer) loadTail(ctx context.Context, buffer []byte) error {
	tail := w.work.Tail
	if tail == nil {
		return nil
	}
	content, err := w.core.Bucket.Open(ctx, tail.Key)
	if err != nil {
		return err
	}
	defer content.Close()
	if _, err := io.ReadFull(content, buffer[:tail.Size]); err != nil {
		return fmt.Errorf("read %s: %w", tail.Key, err)
	}
	w.filled = int(tail.Size)
	return nil
}

// fill reads the body until the buffer is full or the body ends.
func (w *writer) fill(body io.Reader, buffer []byte) (ended bool, err error) {
	n, err := io.ReadFull(body, buffer[w.filled:])
	fresh := buffer[w.filled : w.filled+n]
	w.filled += n
	_, _ = w.sum.Write(fresh) // never fails
	if w.check != nil {
		_, _ = w.check.Hash.Write(fresh)
	}
	if err == nil {
		return false, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true, nil
	}
	return true, fmt.Errorf("read the bytes of an upload: %w", err)
}

// begin begins to send the buffer as a part.
func (w *writer) begin(ctx context.Context, part []byte) error {
	state, err := state(w.sum)
	if err != nil {
		return err
	}
	w.sending = make(chan error, 1)
	go func() { w.sending <- w.send(ctx, part, state) }()
	return nil
}

// wait waits for the part that is being sent.
func (w *writer) wait() error {
	if w.sending == nil {
		return nil
	}
	err := <-w.sending
	w.sending = nil
	return err
}

// send sends a part, and makes it count unless the checksum of the request is to be awaited. The part
// begins with the bytes of the tail, if there is one.
func (w *writer) send(ctx context.Context, part []byte, state []byte) error {
	number, err := w.core.reserve(ctx, w.session)
	if err != nil {
		return err
	}
	w.work.Next = w.session.Next
	if err := w.core.Bucket.PutPart(ctx, w.work.Key, w.work.S3ID, number, part); err != nil {
		return err
	}
	size := int64(len(part))
	w.work.Offset += size
	if w.work.Tail != nil {
		w.work.Offset -= w.work.Tail.Size
	}
	w.work.Parts, w.work.Tail, w.work.Hash = appendPart(w.work.Parts, Part{number, size}), nil, state
	if w.check != nil {
		return nil
	}
	return w.commit(ctx)
}

// commit makes count what was sent, and removes the tail that it replaces.
func (w *writer) commit(ctx context.Context) error {
	old := w.session.Tail
	if err := w.core.save(ctx, w.session, w.work); err != nil {
		return err
	}
	if old != nil && w.work.Tail != old {
		w.core.removeTail(ctx, old.Key)
	}
	return nil
}

// removeTail removes a tail that does not count. The end of the upload removes it too.
func (c *Core) removeTail(ctx context.Context, key string) {
	if err := c.Bucket.Remove(ctx, key); err != nil {
		zerolog.Ctx(ctx).Debug().Err(err).Msg("tail not removed")
	}
}

// end makes count what is left in the buffer when the body has ended.
func (w *writer) end(ctx context.Context, rest []byte) error {
	if w.check != nil {
		if !bytes.Equal(w.check.Hash.Sum(nil), w.check.Want) {
			return checksumMismatch()
		}
		w.check = nil
	}
	fresh := int64(len(rest))
	if w.work.Tail != nil {
		fresh -= w.work.Tail.Size
	}
	if fresh == 0 && w.work.Offset != w.session.Offset { // parts that have waited for the checksum
		return w.commit(ctx)
	}
	if fresh == 0 {
		return nil
	}
	state, err := state(w.sum)
	if err != nil {
		return err
	}
	if w.work.Offset+fresh == w.work.Length { // the last part may have any size
		return w.send(ctx, rest, state)
	}
	// The number of the request makes the key unique: an older request cannot replace the tail.
	tail := &Tail{Key: upload.TailPrefix(w.work.JobID) + strconv.Itoa(w.work.Writer), Size: int64(len(rest))}
	if err := w.core.Bucket.Put(ctx, upload.Object{Key: tail.Key, Size: tail.Size, MediaType: "application/octet-stream"}, bytes.NewReader(rest)); err != nil {
		return err
	}
	w.work.Offset, w.work.Tail, w.work.Hash = w.work.Offset+fresh, tail, state
	if err := w.commit(ctx); err != nil {
		w.core.removeTail(context.WithoutCancel(ctx), tail.Key)
		return err
	}
	return nil
}

// appendPart appends to a list that other records share.
func appendPart(parts []Part, p Part) []Part { return append(parts[:len(parts):len(parts)], p) }

// buffer returns a buffer for a part.
func (c *Core) buffer(size int64) []byte {
	if size == direct.MinPart {
		if b, ok := c.buffers.Get().(*[]byte); ok {
			return *b
		}
	}
	return make([]byte, size)
}

// release gives a buffer back.
func (c *Core) release(b []byte) {
	if len(b) == direct.MinPart {
		c.buffers.Put(&b)
	}
}

// resume returns the SHA-256 with a state; an empty state is that of no bytes.
func resume(state []byte) (hash.Hash, error) {
	sum := sha256.New()
	if len(state) == 0 {
		return sum, nil
	}
	if err := sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil { //nolint:forcetypeassert // documented of crypto/sha256
		return nil, fmt.Errorf("continue a SHA-256: %w", err)
	}
	return sum, nil
}

func state(sum hash.Hash) ([]byte, error) {
	text, err := sum.(encoding.BinaryMarshaler).MarshalBinary() //nolint:forcetypeassert // documented of crypto/sha256
	if err != nil {
		return nil, fmt.Errorf("keep a SHA-256: %w", err)
	}
	return text, nil
}
