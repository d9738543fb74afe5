package resumable

import (
	"cmp"
	"context"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/shared/fault"
)

// maxSending is the largest number of parts that a request sends concurrently.
const maxSending = 4

// sending is a part that is being sent.
type sending struct {
	part  Part
	state []byte // state of the SHA-256 of all bytes up to the end of the part
	done  chan error
}

// begin starts to send the buffer as a part.
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

// explain returns the reason for an error of S3. If another request has completed or removed the
// upload, S3 answers that the multipart upload does not exist, or closes the connection before it
// has read the body. In this case explain returns superseded: the client must request the offset,
// and learns what has happened to the upload.
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

// reserve reserves the number of the next part, unless it is reserved already. It reserves several
// numbers at a time; end frees the unused ones.
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

// oldest returns the channel for the result of the oldest part that is being sent; nil if no part
// is being sent.
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

// sent handles the result err of the oldest part, and the results of the next parts as far as they
// are known. It commits these parts, unless they are withheld until the end. The first part contains
// the bytes of the tail, if there is one.
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
	if !w.withheld() && w.work.Offset != w.session.Offset {
		return cmp.Or(w.commit(ctx), err)
	}
	return err
}

// discard waits for the parts that are being sent, and drops their results. It is called if an
// earlier part was not stored, or if the request has failed.
func (w *writer) discard() {
	for _, s := range w.sending {
		<-s.done //nolint:errcheck // the result is dropped
	}
	w.sending = nil
}
