package upload

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/media"
	"sori.internal/shared/source"
	"sori.internal/shared/wait"
)

// transfer is one fetch.
type transfer struct {
	uploader *RemoteUploader
	ctx      context.Context //nolint:containedctx // context of the fetch, after which the transfer is not used
	put      context.Context //nolint:containedctx // context of the requests to S3 that store the recording
	job      event.Received
	source   source.Source
	attempt  int

	try       int // number of the try, from 1
	failed    *FetchError
	bytes     int64
	size      int64     // size of the whole recording in bytes; -1 if unknown
	published time.Time // when progress was last published
}

// run fetches the recording and returns the event `stored`. It stops reading if the recording is
// not needed any more, or after the time limit. It does not cancel a request that stores the
// recording: S3 could execute such a request later, and then nobody would remove the object.
func (t *transfer) run(outer context.Context) (event.Stored, error) {
	u := t.uploader
	ctx, end := context.WithCancelCause(outer)
	defer end(nil)
	ctx, stop := context.WithTimeoutCause(ctx, u.options.Timeout, errTimeout)
	defer stop()
	t.ctx, t.put = ctx, outer
	defer wait.InBackground(ctx, watchInterval, func(ctx context.Context) {
		if log, err := u.Jobs.Read(ctx, t.job.JobID); err == nil && storedOrEnded(log) {
			end(errNotNeeded)
		}
	})()
	stored, err := t.fetch()
	switch {
	case err == nil:
	case outer.Err() != nil:
		err = outer.Err() // the process stops, and the event is redelivered
	case fault.Is(err, fault.Unavailable): // S3 has not answered: err is returned, even after the time limit or the end of the job
	case errors.Is(context.Cause(ctx), errTimeout):
		err = &FetchError{
			Code: event.CodeFetchTimeout, Retryable: true, Err: err,
			Detail: fmt.Sprintf("The recording did not arrive from %s within %v.", t.source.Host(), u.options.Timeout),
		}
	case ctx.Err() != nil:
		err = errNotNeeded
	}
	return stored, err
}

// fetch stores the recording under a new key, and returns the event `stored`.
func (t *transfer) fetch() (event.Stored, error) {
	t.publish()
	if t.source.IsObject() {
		return t.copyObject()
	}
	var stored event.Stored
	err := t.uploader.Fetcher.Fetch(t.ctx, t.source, t.tryFailed, func(body io.Reader, size int64) error {
		t.bytes, t.size = 0, size
		o, r, err := t.open(body)
		if err != nil {
			return err
		}
		if err := t.uploader.Objects.PutStream(t.put, o, r); err != nil {
			return err
		}
		stored = t.storedAs(o, r)
		return nil
	})
	return stored, err
}

// copyObject makes S3 copy the recording from another bucket. It reads the copy to compute its
// SHA-256 and its duration.
func (t *transfer) copyObject() (event.Stored, error) {
	u := t.uploader
	from, err := u.options.Allowed.Object(t.source.URL)
	if err != nil {
		return event.Stored{}, &FetchError{Code: event.CodeFetchRefused, Detail: "The object is none that may be fetched.", Err: err}
	}
	head, found, err := u.Objects.HeadFrom(t.ctx, from, media.HeadSize)
	if err != nil {
		return event.Stored{}, err
	}
	if found.Size > u.options.MaxBytes {
		return event.Stored{}, TooLarge(t.source.Host(), u.options.MaxBytes)
	}
	o, _, err := t.open(bytes.NewReader(head))
	if err != nil {
		return event.Stored{}, err
	}
	if err := u.Objects.CopyFrom(t.put, from, found, o); err != nil {
		return event.Stored{}, err
	}
	body, err := u.Objects.Open(t.ctx, o.Key)
	if err != nil {
		return event.Stored{}, err
	}
	defer body.Close()
	t.bytes, t.size = 0, found.Size
	r := t.reader(body)
	if _, err := io.Copy(io.Discard, r); err != nil {
		return event.Stored{}, err //nolint:wrapcheck // an error of S3, or a FetchError
	}
	return t.storedAs(o, r), nil
}

// open reads the head of a recording, and returns its object and a reader of the whole recording.
// It fails with a FetchError if the recording is not audio.
func (t *transfer) open(body io.Reader) (Object, *remoteReader, error) {
	head := make([]byte, media.HeadSize)
	n, _, err := ReadFull(body, head)
	if err != nil {
		return Object{}, nil, err
	}
	head = head[:n]
	mediaType, err := media.Recognize(head)
	if err != nil {
		return Object{}, nil, refused(err)
	}
	o := Object{Key: remoteKey(t.job), MediaType: mediaType, Size: -1, SHA256: t.source.SHA256}
	return o, t.reader(io.MultiReader(bytes.NewReader(head), body)), nil
}

// ReadFull reads until buf is full or the body has ended. It returns errors of the body unchanged.
// (io.ReadFull returns io.ErrUnexpectedEOF for a body that is complete and shorter than buf, too,
// so a truncated body could be taken for a complete one.)
func ReadFull(body io.Reader, buf []byte) (n int, ended bool, err error) {
	for n < len(buf) {
		m, err := body.Read(buf[n:])
		n += m
		if errors.Is(err, io.EOF) {
			return n, true, nil
		}
		if err != nil {
			return n, false, err //nolint:wrapcheck // the caller checks the type of the error
		}
	}
	return n, false, nil
}

// remoteKey returns a new key for the object of a fetch.
func remoteKey(r event.Received) string {
	return Key(r.JobID, rand.Text()+"_"+r.FileName)
}

func (t *transfer) storedAs(o Object, r *remoteReader) event.Stored {
	return event.Stored{
		JobID: t.job.JobID, TokenID: t.job.TokenID, TextGridURL: t.job.TextGridURL, PitchURL: t.job.PitchURL,
		Bucket: t.uploader.Objects.Name(), Key: o.Key, MediaType: o.MediaType, Size: t.bytes, SHA256: r.sum(),
		Duration: r.meter.Info().Duration.Seconds(), Attempt: t.attempt,
	}
}

// tryFailed publishes that a try has failed and the next one begins.
func (t *transfer) tryFailed(f *FetchError) {
	zerolog.Ctx(t.ctx).Info().Err(f).Int(logging.Attempt, t.try).Msg("fetch tried")
	t.try, t.failed = t.try+1, f
	t.publish()
}

// publish publishes a fetching event. Its loss is harmless.
func (t *transfer) publish() {
	t.published = time.Now()
	e := event.Fetching{JobID: t.job.JobID, Attempt: t.attempt, Bytes: t.bytes, Size: max(0, t.size), Try: t.try}
	if t.failed != nil {
		e.Code, e.Status = t.failed.Code, t.failed.Status
	}
	if err := t.uploader.Progress.PublishAsync(t.ctx, e); err != nil {
		zerolog.Ctx(t.ctx).Debug().Err(err).Msg("progress not published")
	}
}

// remoteReader reads a recording and publishes the progress. At the end of the body it checks the
// recording, and returns io.EOF only if the recording may be stored.
type remoteReader struct {
	transfer *transfer
	body     io.Reader
	hash     hash.Hash
	meter    *media.Meter
}

func (t *transfer) reader(body io.Reader) *remoteReader {
	return &remoteReader{transfer: t, body: body, hash: sha256.New(), meter: media.NewMeter(-1)}
}

// Read implements io.Reader.
func (r *remoteReader) Read(p []byte) (int, error) {
	t := r.transfer
	n, err := r.body.Read(p)
	r.hash.Write(p[:n])
	_, _ = r.meter.Write(p[:n]) // never fails
	t.bytes += int64(n)
	if time.Since(t.published) >= progressInterval {
		t.publish()
	}
	if limit := t.uploader.options.MaxBytes; t.bytes > limit {
		return 0, TooLarge(t.source.Host(), limit)
	}
	if errors.Is(err, io.EOF) {
		if refusal := r.checkEnd(); refusal != nil {
			return n, refusal
		}
	}
	return n, err //nolint:wrapcheck // the contract of io.Reader
}

func (r *remoteReader) sum() string { return hex.EncodeToString(r.hash.Sum(nil)) }

// checkEnd makes the checks that need the whole recording.
func (r *remoteReader) checkEnd() error {
	if err := media.CheckDecodable(r.meter.Info()); err != nil {
		return refused(err)
	}
	if want := r.transfer.source.SHA256; want != "" && want != r.sum() {
		return &FetchError{Code: "digest-mismatch", Detail: "The recording is not the one that the digest announced."}
	}
	return nil
}

// refused returns the FetchError for an error of package media.
func refused(err error) error {
	f := fault.As(err)
	return &FetchError{Code: f.Code, Detail: f.Detail}
}

// TooLarge returns the FetchError for a recording that is larger than limit bytes.
func TooLarge(host string, limit int64) error {
	return &FetchError{Code: event.CodeFetchTooBig, Detail: fmt.Sprintf("The file at %s has more than %d bytes.", host, limit)}
}
