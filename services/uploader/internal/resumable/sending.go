package resumable

import (
	"cmp"
	"context"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/shared/fault"
)

// maxSending is how many parts a request sends at once.
const maxSending = 4

// sending is a part that is being sent.
type sending struct {
	part  Part
	state []byte // state of the SHA-256 of the upload up to the end of the part
	done  chan error
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
// upload since, S3 responds that the upload does not exist, or closes the connection before it has read the
// body. explain then returns superseded: the client must request the offset, and the response shows what
// has happened to the upload.
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

// reserve makes sure that the number of the next part is reserved. It reserves several numbers at once;
// end returns the unused ones.
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

// oldest returns the channel that receives the result of the oldest part that is being sent, or nil if no part is being
// sent.
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

// sent handles the result of the oldest part, and of the parts after it that have finished too. It
// commits them unless the request has a checksum, which must be verified first. The first part
// begins with the bytes of the tail, if there is one.
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

// discard waits for the parts that are being sent, and does not commit them: a part before them was
// not stored, or the request has failed.
func (w *writer) discard() {
	for _, s := range w.sending {
		<-s.done //nolint:errcheck // the part is not committed, whether it is stored or not
	}
	w.sending = nil
}
