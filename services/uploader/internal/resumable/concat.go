package resumable

import (
	"context"
	"errors"
	"io"
	"strconv"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// object joins the parts of a partial upload to an object. If another request has concatenated the
// partial upload meanwhile, and so removed the object, object sets s to what remains of it.
func (c *Core) object(ctx context.Context, s *Session) error {
	if s.Length == 0 {
		return nil
	}
	parts, err := c.parts(ctx, s.Upload)
	if err == nil {
		err = c.Bucket.CompleteParts(ctx, s.Key, s.S3ID, parts)
	}
	if err == nil || !mayBeJoined(err) {
		return err
	}
	err = c.Direct.AwaitJoined(ctx, s.Upload.Upload, func() error {
		_, found, err := c.Bucket.Stat(ctx, s.Key)
		if err == nil && !found {
			err = direct.NotFound()
		}
		return err
	})
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	found, findErr := c.Find(ctx, s.Owner, s.JobID)
	if findErr != nil || !found.Spent {
		return err
	}
	*s = *found
	return nil
}

// CreateFinal begins the upload u that concatenates complete partial uploads. The same partial
// uploads for the same token always give the same upload, so that a client whose answer was lost may
// repeat its request: CreateFinal returns the upload if it is complete or has become a job. If an
// earlier request has failed or still runs, CreateFinal takes the upload over and starts it again. It
// fails with fault.Malformed if the partial uploads were concatenated to another upload.
func (c *Core) CreateFinal(ctx context.Context, u Upload, partials []*Session) (*Session, error) {
	values := []string{u.Owner, strconv.FormatInt(u.TokenID, 10)}
	spent := false
	for _, p := range partials {
		values, spent = append(values, p.JobID), spent || p.Spent
	}
	var err error
	if u.JobID, err = event.DeriveJobID(partials[0].JobID, values...); err != nil {
		return nil, err
	}
	for tries := 1; ; tries++ {
		s, err := c.final(ctx, u, spent)
		if tries == finalTries || !errors.Is(err, event.ErrLogConflict) {
			return s, err
		}
	}
}

// finalTries is how often CreateFinal tries if other requests change the upload meanwhile.
const finalTries = 3

// final is one try of CreateFinal. It fails with event.ErrLogConflict if another request has changed
// the upload meanwhile.
func (c *Core) final(ctx context.Context, u Upload, spent bool) (*Session, error) {
	s, err := c.Find(ctx, u.Owner, u.JobID)
	begun := !fault.Is(err, fault.NotFound)
	switch {
	case begun && (err != nil || s.Complete()):
		return s, err
	case spent:
		return nil, concatenated()
	case begun:
		return s, c.restart(ctx, s)
	}
	return c.Create(ctx, u)
}

// restart makes this request the only one that can change the record of an upload, and drops the
// bytes of earlier requests.
func (c *Core) restart(ctx context.Context, s *Session) error {
	u := s.Upload
	u.Writer++
	u.Offset, u.Hash, u.Parts, u.Tail = 0, nil, nil, nil
	return c.save(ctx, s, u)
}

// Concat concatenates partial uploads to an upload that CreateFinal has returned, begins its job, and
// removes the bytes of the partial uploads. It fails with fault.Malformed if one of them is not
// partial or not complete. If the concatenation fails, Concat keeps the partial uploads.
func (c *Core) Concat(ctx context.Context, s *Session, partials []*Session) error {
	if !s.Complete() {
		if err := c.concatBytes(ctx, s, partials); err != nil {
			return err
		}
	}
	if err := c.Finish(ctx, s); err != nil {
		return err
	}
	for _, p := range partials {
		if err := c.spend(ctx, p); err != nil {
			return nil //nolint:nilerr // the job has begun; the sweeper removes the partial uploads
		}
	}
	return nil
}

// concatBytes copies the bytes of partial uploads to an upload.
func (c *Core) concatBytes(ctx context.Context, s *Session, partials []*Session) error {
	read := false // S3 cannot copy the objects: one is too large, or too small for a part that is not the last
	for i, p := range partials {
		if !p.Partial {
			return NotPartial()
		}
		if !p.Complete() {
			return NotFinished()
		}
		if err := c.Finish(ctx, p); err != nil {
			return err
		}
		read = read || p.Length > maxCopy || i < len(partials)-1 && p.Length < direct.MinPart
	}
	if read {
		return c.readAll(ctx, s, partials)
	}
	return c.copyAll(ctx, s, partials)
}

// spend removes the bytes of a partial upload that was concatenated. A short record remains until the
// upload expires: a client that has lost the answer to its concatenation asks for the offset of each
// partial upload before it repeats the request, and would send an upload again that does not exist.
func (c *Core) spend(ctx context.Context, s *Session) error {
	if s.Spent {
		return nil
	}
	u := Upload{Partial: true, Length: s.Length, Offset: s.Length}
	u.Upload = direct.Upload{JobID: s.JobID, Key: s.Key, Owner: s.Owner, Created: s.Created, Resumable: true, Spent: true}
	if _, err := c.Records.Save(ctx, u, 0); err != nil && !errors.Is(err, event.ErrLogConflict) { // conflict: another call has saved it
		return err
	}
	return c.Direct.Discard(ctx, s.Upload.Upload)
}

// maxCopy is the largest size of a part that S3 copies, in bytes.
const maxCopy = 5 << 30

// copyAll makes S3 copy each object to a part. The bytes do not pass through this process, so the
// SHA-256 is computed only when the job reads the recording.
func (c *Core) copyAll(ctx context.Context, s *Session, partials []*Session) error {
	u := s.Upload
	for _, p := range partials {
		if p.Length == 0 { // the last one
			continue
		}
		number, err := c.reserve(ctx, s)
		if err != nil {
			return err
		}
		if err := c.Bucket.CopyPart(ctx, p.Key, 0, p.Length, u.Key, u.S3ID, number); err != nil {
			return err
		}
		u.Parts, u.Offset = append(u.Parts, Part{number, p.Length}), u.Offset+p.Length
	}
	u.Next = s.Next
	return c.save(ctx, s, u)
}

// readAll reads the objects and writes their bytes to the upload, as if they were the body of a request.
func (c *Core) readAll(ctx context.Context, s *Session, partials []*Session) error {
	body := &objects{ctx: ctx, bucket: c.Bucket}
	defer func() { _ = body.Close() }()
	for _, p := range partials {
		if p.Length > 0 {
			body.keys = append(body.keys, p.Key)
		}
	}
	// restart, unlike takeOver, fails if a newer request has taken the upload over.
	_, err := c.write(ctx, s, body, nil, c.restart)
	return err
}

// objects is a reader of several objects, one after another.
type objects struct {
	ctx    context.Context //nolint:containedctx // context of the reads
	bucket Bucket
	keys   []string // keys of the objects that are not read yet
	open   io.ReadCloser
}

// Read implements io.Reader.
func (o *objects) Read(p []byte) (int, error) {
	for {
		if o.open == nil {
			if len(o.keys) == 0 {
				return 0, io.EOF
			}
			var err error
			if o.open, err = o.bucket.Open(o.ctx, o.keys[0]); err != nil {
				return 0, err
			}
			o.keys = o.keys[1:]
		}
		n, err := o.open.Read(p)
		if err != io.EOF { //nolint:errorlint // the contract of io.Reader
			return n, err //nolint:wrapcheck // as above
		}
		err = o.Close()
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close implements io.Closer.
func (o *objects) Close() error {
	if o.open == nil {
		return nil
	}
	err := o.open.Close()
	o.open = nil
	return err //nolint:wrapcheck // the caller adds what it reads
}
