package resumable

import (
	"context"
	"io"

	"sori.internal/services/uploader/internal/direct"
)

// object joins the parts of a partial upload to an object.
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
	return c.Direct.AwaitJoined(ctx, s.Upload.Upload, func() error {
		_, found, err := c.Bucket.Stat(ctx, s.Key)
		if err == nil && !found {
			err = direct.NotFound()
		}
		return err
	})
}

// Concat concatenates partial uploads to an upload, begins its job, and removes the partial
// uploads. It fails with fault.Malformed if one of them is not partial or not complete. If the
// concatenation fails, Concat removes the upload and keeps the partial uploads.
func (c *Core) Concat(ctx context.Context, s *Session, partials []*Session) error {
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
	join := c.copyAll
	if read {
		join = c.readAll
	}
	err := join(ctx, s, partials)
	if err == nil {
		err = c.Finish(ctx, s)
	}
	if err != nil { // the client may concatenate the partial uploads again, to another upload
		_ = c.Direct.Discard(context.WithoutCancel(ctx), s.Upload.Upload) // after an error, the sweeper removes the upload
		return err
	}
	for _, p := range partials {
		if err := c.Direct.Discard(ctx, p.Upload.Upload); err != nil {
			return nil //nolint:nilerr // the job has begun; the sweeper removes the partial uploads
		}
	}
	return nil
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

// readAll reads the objects and writes their bytes to the upload, like the bytes of a request.
func (c *Core) readAll(ctx context.Context, s *Session, partials []*Session) error {
	body := &objects{ctx: ctx, bucket: c.Bucket}
	defer func() { _ = body.Close() }()
	for _, p := range partials {
		if p.Length > 0 {
			body.keys = append(body.keys, p.Key)
		}
	}
	_, err := c.Write(ctx, s, body, nil)
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
