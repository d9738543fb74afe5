package upload

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
)

// progressInterval is the shortest time between two progress events of one upload.
const progressInterval = time.Second

// progressReader reads a body and publishes uploading events.
type progressReader struct {
	ctx      context.Context //nolint:containedctx // context of one copy; the reader is not used after it
	progress Progress
	job      string
	size     int64
	body     io.Reader

	done      int64                 // bytes
	published time.Time             // when progress was last published
	err       atomic.Pointer[error] // last error of reading the body, except io.EOF
}

// Read implements io.Reader.
func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.done += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err.Store(&err)
	}
	if time.Since(r.published) >= progressInterval {
		r.publish()
	}
	return n, err
}

// readError returns the error of reading the body, except io.EOF; nil if there was none. It is safe
// for concurrent use, since the S3 client may read the body even after it has returned.
func (r *progressReader) readError() error {
	if err := r.err.Load(); err != nil {
		return *err
	}
	return nil
}

// publish publishes an uploading event. Its loss is harmless.
func (r *progressReader) publish() {
	r.published = time.Now()
	if err := r.progress.PublishAsync(r.ctx, event.Uploading{JobID: r.job, Bytes: r.done, Size: r.size}); err != nil {
		zerolog.Ctx(r.ctx).Debug().Err(err).Msg("progress not published")
	}
}
