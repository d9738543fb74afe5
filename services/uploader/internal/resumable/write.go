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
	"time"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// usualParts is the largest number of parts into which an upload is divided. The part numbers from
// there to direct.MaxParts are reserves, because a request that ends early leaves numbers unused.
const usualParts = 9000

// partSize returns the size of the parts of an upload, in bytes.
func (c *Core) partSize(u Upload) int64 {
	length := u.Length
	if length == Deferred {
		length = c.Direct.Options().MaxBytes
	}
	return max(direct.MinPart, (length+usualParts-1)/usualParts)
}

// Checksum is the checksum of the bytes of one request.
type Checksum struct {
	Hash hash.Hash // computes the checksum
	Want []byte    // checksum that the client sent
}

// Write appends the bytes of a request to an upload, and returns the number of committed bytes.
// With a checksum, either all bytes or no bytes are committed. Without a checksum, the bytes that
// have arrived are committed even if the body breaks off, unless they complete the upload. Write fails with fault.Conflict if
// another request takes the upload over, and with fault.Exhausted if too many requests write.
func (c *Core) Write(ctx context.Context, s *Session, body io.Reader, check *Checksum) (int64, error) {
	return c.write(ctx, s, body, check, c.takeOver)
}

// write is Write for a request that makes itself the only writer with the function own.
func (c *Core) write(ctx context.Context, s *Session, body io.Reader, check *Checksum, own func(context.Context, *Session) error) (int64, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return 0, tooManyWriters()
	}
	before := s.Offset
	if s.Length == Deferred {
		body = &limited{body: body, core: c, offset: before}
	}
	if err := own(ctx, s); err != nil {
		return 0, err
	}
	w := &writer{core: c, session: s, work: s.Upload, check: check, size: c.partSize(s.Upload)}
	if s.Tail != nil { // parts become smaller when the length is declared, or when MAX_DIRECT_UPLOAD_BYTES is lowered
		w.size = max(w.size, s.Tail.Size)
	}
	err := w.run(ctx, body)
	if fault.Is(err, fault.Conflict) {
		c.removeLateParts(ctx, s.Upload.Upload)
	}
	return s.Offset - before, err
}

// removeLateParts removes the parts of a superseded request that S3 stored after another request
// had begun the job of the upload: Finish has removed only those that S3 stored before.
func (c *Core) removeLateParts(ctx context.Context, u direct.Upload) {
	ctx = context.WithoutCancel(ctx)
	if found, err := c.Find(ctx, u.Owner, u.JobID); err == nil && found.Job {
		_ = c.Direct.Bucket.AbortParts(ctx, u.Key, u.S3ID)
	}
}

// limited is the body of a request to an upload of unknown length. Read fails when the upload
// exceeds the largest size of an upload.
type limited struct {
	body   io.Reader
	core   *Core
	offset int64 // offset in the upload
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.body.Read(p)
	l.offset += int64(n)
	if refused := l.core.checkLength(l.offset); refused != nil {
		return 0, refused
	}
	return n, err //nolint:wrapcheck // the contract of io.Reader
}

// takeOver makes this request the only one that can change the record of the upload.
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

// writer writes the bytes of one request. It collects the next part while it sends the previous
// ones.
type writer struct {
	core    *Core
	session *Session
	work    Upload // the next state of session.Upload: with parts and a tail that S3 has, but that are not committed
	check   *Checksum
	size    int64 // size of a part
	sum     hash.Hash

	body   *ahead
	piece  piece        // the last piece of the body; its bytes are those that are not in the buffer yet
	tail   *Tail        // tail with which the next part begins; nil if there is none, or if it is in the buffer
	buffer []byte       // collects the next part; nil before the first byte of the part
	filled int64        // number of bytes in the buffer
	loaded int64        // number of bytes in the buffer that are from the tail
	turn   *time.Ticker // ticks when the buffer must be given up if another request waits for one
	tails  int          // number of tails that this request has stored

	ended   bool       // the body has ended, and has the bytes of the checksum
	number  int        // number of the next part; reserved already if it is below work.Next
	sending []*sending // parts, in order
}

func (w *writer) run(ctx context.Context, body io.Reader) error {
	var err error
	if w.sum, err = resume(w.work.Hash); err != nil {
		return err
	}
	w.number, w.tail = w.work.Next, w.work.Tail
	w.body, w.turn = readAhead(body), time.NewTicker(memoryTurn)
	defer func() {
		w.turn.Stop()
		w.discard()
		w.release()
		w.body.close()
	}()
	for {
		ended, err := w.fill(ctx)
		if err != nil {
			if waitErr := w.wait(ctx, 0); waitErr != nil { // commits the parts that S3 has
				return waitErr
			}
			return err
		}
		if ended {
			return w.end(ctx)
		}
		if err := w.begin(ctx); err != nil {
			return err
		}
	}
}

// fill moves bytes of the body to the buffer until the part is complete or the body ends. If the
// client is slow and other requests wait for a buffer, fill stores the bytes as the tail and gives
// the buffer up.
func (w *writer) fill(ctx context.Context) (ended bool, err error) {
	for {
		if err := w.collect(ctx); err != nil {
			return true, err
		}
		switch err := w.piece.err; {
		case w.filled == w.size:
			return false, nil
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return true, fmt.Errorf("read the bytes of an upload: %w", err)
		}
		if w.piece.block != nil {
			w.body.used <- w.piece.block
			w.piece = piece{}
		}
		select {
		case w.piece = <-w.body.pieces:
		case err = <-w.oldest():
			err = w.sent(ctx, err)
		case <-w.turn.C:
			if w.buffer != nil && w.core.memory.wanted() {
				err = w.yield(ctx)
			}
		}
		if err != nil {
			return true, err
		}
	}
}

// collect copies bytes of the piece to the buffer.
func (w *writer) collect(ctx context.Context) error {
	if len(w.piece.bytes) == 0 || w.filled == w.size {
		return nil
	}
	if w.buffer == nil {
		if err := w.take(ctx); err != nil {
			return err
		}
	}
	n := copy(w.buffer[w.filled:w.size], w.piece.bytes)
	fresh := w.piece.bytes[:n]
	_, _ = w.sum.Write(fresh) // never fails
	if w.check != nil {
		_, _ = w.check.Hash.Write(fresh)
	}
	w.piece.bytes, w.filled = w.piece.bytes[n:], w.filled+int64(n)
	return nil
}

// release gives the buffer back.
func (w *writer) release() {
	if w.buffer != nil {
		w.core.memory.give(w.buffer)
	}
	w.buffer, w.filled, w.loaded = nil, 0, 0
}

// yield stores the bytes in the buffer as the tail, and gives the buffer up.
func (w *writer) yield(ctx context.Context) error {
	if err := w.wait(ctx, 0); err != nil {
		return err
	}
	if err := w.store(ctx); err != nil {
		return err
	}
	w.tail = w.work.Tail
	w.release()
	return nil
}

// withheld reports whether the bytes that S3 has must not be committed before the body ends. That is
// so if the request has a checksum, and if the bytes complete the upload: the body may have more bytes
// than the upload still needs, and then the job must not begin.
func (w *writer) withheld() bool {
	return !w.ended && (w.check != nil || w.work.Offset == w.work.Length)
}

// commit saves the parts and the tail that S3 has in the record, and removes the tail that they
// replace.
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

// end commits the remaining bytes after the body has ended.
func (w *writer) end(ctx context.Context) error {
	if w.filled > w.loaded && w.position() == w.work.Length { // the last part may have any size
		if err := w.begin(ctx); err != nil {
			return err
		}
	}
	w.work.Next = w.number
	if err := w.wait(ctx, 0); err != nil {
		return err
	}
	if w.check != nil && !bytes.Equal(w.check.Hash.Sum(nil), w.check.Want) {
		w.drop(ctx, w.work.Tail)
		return checksumMismatch()
	}
	w.ended = true
	if w.filled > w.loaded {
		return w.store(ctx)
	}
	if w.work.Offset != w.session.Offset || w.work.Next != w.session.Next {
		return w.commit(ctx)
	}
	return nil
}

// position returns the offset of the byte that follows those in the buffer.
func (w *writer) position() int64 {
	n := w.work.Offset + w.filled - w.loaded
	for _, s := range w.sending {
		n += s.part.Size
	}
	if len(w.sending) > 0 && w.work.Tail != nil { // the tail is a part of sending[0]
		n -= w.work.Tail.Size
	}
	return n
}

// appendPart returns a new list with one more part. It does not change parts, which other records
// share.
func appendPart(parts []Part, p Part) []Part { return append(parts[:len(parts):len(parts)], p) }

// resume returns a SHA-256 that continues from a state; the empty state is that before the first
// byte.
func resume(state []byte) (hash.Hash, error) {
	sum := sha256.New()
	if len(state) == 0 {
		return sum, nil
	}
	if err := sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil { //nolint:forcetypeassert // crypto/sha256 documents this
		return nil, fmt.Errorf("continue a SHA-256: %w", err)
	}
	return sum, nil
}

func state(sum hash.Hash) ([]byte, error) {
	text, err := sum.(encoding.BinaryMarshaler).MarshalBinary() //nolint:forcetypeassert // crypto/sha256 documents this
	if err != nil {
		return nil, fmt.Errorf("keep a SHA-256: %w", err)
	}
	return text, nil
}
