package resumable

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
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

// maxSending is how many parts a request sends at once.
const maxSending = 4

// writer writes the bytes of one request. While it sends parts it collects the next one.
type writer struct {
	core    *Core
	session *Session
	work    Upload // the session, with what is sent and does not count yet
	check   *Checksum
	size    int64 // of a part
	sum     hash.Hash

	body   *ahead
	piece  piece        // of the body, with the bytes that are not collected yet
	tail   *Tail        // with which the next part begins, and which is not in the buffer yet
	buffer []byte       // nil while no byte of a part has arrived
	filled int64        // bytes in the buffer
	loaded int64        // of these, those of the tail
	turn   *time.Ticker // of a buffer
	tails  int          // that this request has stored

	number  int        // of the next part; from work.Next on, it has to be reserved
	sending []*sending // parts, in order
}

// sending is a part that is being sent.
type sending struct {
	part  Part
	state []byte // of the SHA-256 of the upload up to the end of the part
	done  chan error
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
			if waitErr := w.wait(ctx, 0); waitErr != nil { // what is sent counts
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

// fill collects the bytes of the body until they are a part or the body ends. If the client is slow and
// others wait for a buffer, it stores what it has.
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

// collect moves bytes of the piece to the buffer.
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

// take takes a buffer for a part, and reads the tail into it.
func (w *writer) take(ctx context.Context) (err error) {
	if w.buffer, err = w.core.memory.take(ctx, w.capacity()); err != nil {
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

// capacity returns how many bytes the buffer must hold. The tail is larger than a part if the largest
// size of an upload was lowered since.
func (w *writer) capacity() int64 {
	if w.tail == nil {
		return w.size
	}
	return max(w.size, w.tail.Size)
}

// release gives the buffer back.
func (w *writer) release() {
	if w.buffer != nil {
		w.core.memory.give(w.buffer)
	}
	w.buffer, w.filled, w.loaded = nil, 0, 0
}

// yield stores what is in the buffer as the tail, and gives the buffer back.
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

// begin begins to send the buffer as a part.
func (w *writer) begin(ctx context.Context) error {
	if err := w.wait(ctx, maxSending-1); err != nil {
		return err
	}
	if err := w.reserve(ctx); err != nil {
		return err
	}
	state, err := state(w.sum)
	if err != nil {
		return err
	}
	s := &sending{part: Part{w.number, w.filled}, state: state, done: make(chan error, 1)}
	buffer := w.buffer
	w.number++
	w.buffer, w.filled, w.loaded, w.sending = nil, 0, 0, append(w.sending, s)
	key, s3ID := w.work.Key, w.work.S3ID
	go func() {
		body := &loan{rest: buffer[:s.part.Size]}
		err := w.core.Bucket.PutPart(ctx, key, s3ID, s.part.Number, body, s.part.Size)
		body.end()
		w.core.memory.give(buffer)
		s.done <- err
	}()
	return nil
}

// explain returns why S3 refused a request of this writer. If another request has completed or removed the
// upload since, S3 does not have it any more, or breaks the connection before it has read a part of it. The
// client learns which by asking for the offset.
func (w *writer) explain(ctx context.Context, err error) error {
	switch {
	case fault.Is(err, fault.NotFound):
		return superseded()
	case fault.Is(err, fault.Unavailable):
		found, findErr := w.core.Find(ctx, w.session.Owner, w.session.JobID)
		if fault.Is(findErr, fault.NotFound) || findErr == nil && (found.Job || found.Writer != w.session.Writer) {
			return superseded()
		}
	}
	return err
}

// reserve makes sure that the number of the next part is reserved. It reserves several at once; end gives
// back those that are not used.
func (w *writer) reserve(ctx context.Context) error {
	if w.number < w.work.Next {
		return nil
	}
	u := w.session.Upload
	if u.Next > direct.MaxParts {
		return tooManyParts()
	}
	u.Next = min(u.Next+maxSending, direct.MaxParts+1)
	if err := w.core.save(ctx, w.session, u); err != nil {
		return err
	}
	w.work.Next = u.Next
	return nil
}

// oldest returns the channel that receives the result of the oldest part that is being sent; nil if none
// is.
func (w *writer) oldest() chan error {
	if len(w.sending) == 0 {
		return nil
	}
	return w.sending[0].done
}

// wait waits until at most n parts are being sent.
func (w *writer) wait(ctx context.Context, n int) error {
	for len(w.sending) > n {
		if err := w.sent(ctx, <-w.oldest()); err != nil {
			return err
		}
	}
	return nil
}

// sent makes the oldest part count, and those after it that are sent too, unless the checksum of the
// request is to be awaited. The first part begins with the bytes of the tail, if there is one.
func (w *writer) sent(ctx context.Context, err error) error {
	for more := true; more; {
		s := w.sending[0]
		w.sending = w.sending[1:]
		if err != nil {
			w.discard()
			err = w.explain(ctx, err)
			break
		}
		w.work.Offset += s.part.Size
		if w.work.Tail != nil {
			w.work.Offset -= w.work.Tail.Size
		}
		w.work.Parts, w.work.Tail, w.work.Hash = appendPart(w.work.Parts, s.part), nil, s.state
		select {
		case err = <-w.oldest():
		default:
			more = false
		}
	}
	if w.check == nil && w.work.Offset != w.session.Offset {
		return cmp.Or(w.commit(ctx), err)
	}
	return err
}

// discard waits for the parts that are being sent, which do not count: one before them was not stored, or
// the request has failed.
func (w *writer) discard() {
	for _, s := range w.sending {
		<-s.done //nolint:errcheck // the part does not count, whether it is stored or not
	}
	w.sending = nil
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

// end makes count what is left when the body has ended.
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
	if w.check != nil {
		if !bytes.Equal(w.check.Hash.Sum(nil), w.check.Want) {
			w.drop(ctx, w.work.Tail)
			return checksumMismatch()
		}
		w.check = nil
	}
	if w.filled > w.loaded {
		return w.store(ctx)
	}
	if w.work.Offset != w.session.Offset || w.work.Next != w.session.Next {
		return w.commit(ctx)
	}
	return nil
}

// position returns the offset after the bytes in the buffer.
func (w *writer) position() int64 {
	n := w.work.Offset + w.filled - w.loaded
	for _, s := range w.sending {
		n += s.part.Size
	}
	if len(w.sending) > 0 && w.work.Tail != nil { // the first part begins with the tail
		n -= w.work.Tail.Size
	}
	return n
}

// store makes the bytes in the buffer the tail, and makes them count unless the checksum of the request
// is to be awaited.
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
	// The number of the request makes the key unique: an older request cannot replace the tail.
	tail := &Tail{Key: fmt.Sprintf("%s%d-%d", upload.TailPrefix(w.work.JobID), w.work.Writer, w.tails), Size: w.filled}
	body := &loan{rest: w.buffer[:w.filled]}
	defer body.end()
	if err := w.core.Bucket.Put(ctx, upload.Object{Key: tail.Key, Size: tail.Size, MediaType: "application/octet-stream"}, body); err != nil {
		return err
	}
	old := w.work.Tail
	w.work.Offset, w.work.Tail, w.work.Hash = w.work.Offset+fresh, tail, state
	if w.check != nil {
		w.drop(ctx, old)
		return nil
	}
	err = w.commit(ctx)
	if errors.Is(err, event.ErrLogConflict) { // after any other failure the record may have the tail
		w.core.removeTail(context.WithoutCancel(ctx), tail.Key)
	}
	return err
}

// drop removes a tail that this request has stored and that does not count.
func (w *writer) drop(ctx context.Context, tail *Tail) {
	if tail != nil && tail != w.session.Tail {
		w.core.removeTail(ctx, tail.Key)
	}
}

// appendPart appends to a list that other records share.
func appendPart(parts []Part, p Part) []Part { return append(parts[:len(parts):len(parts)], p) }

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
