// Package upload is the uploader's core: it copies a staged recording into the bucket, exactly
// once, however often its event is delivered.
//
// The rules are pure functions of a job's log (rules.go). The uploader reads the log before it
// changes anything, except at the first delivery of the event `received`. If the recording is
// stored or the job has ended, the uploader only removes objects and staged bytes that the job does
// not need. If the job ends during the copy, the uploader does not append the event `stored`, and
// removes the object. Therefore handling an event again changes nothing.
//
// No object and no staging entry of an erased job remains, even if a copy is running when the job
// is erased (Eraser).
package upload

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/logging"
	"sori.internal/shared/media"
)

// LogReader reads the logs of jobs.
type LogReader interface {
	Read(ctx context.Context, job string) (event.Log, error)
}

// JobLog reads the logs of jobs, and appends events to them.
type JobLog interface {
	LogReader
	// Update appends to a job's log the event that decide returns for the log, or nothing if decide
	// returns nil. If another writer appended first, Update reads the log and calls decide again.
	// It returns the log that it passed to the last call of decide, with the new event. The
	// parameter known is the log if the caller has read it: then the first call of decide gets
	// known, and the log is not read before that call.
	Update(ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error)
}

// Progress publishes progress events.
type Progress interface {
	// PublishAsync publishes an event without waiting for the acknowledgement.
	PublishAsync(ctx context.Context, e event.Event) error
}

// Staging stores the bytes of uploads.
type Staging interface {
	Open(ctx context.Context, s event.Staged) (io.Reader, error)
	Delete(ctx context.Context, entry string) error
}

// Object is a recording in the bucket.
type Object struct {
	Key       string
	MediaType string
	Size      int64  // bytes
	SHA256    string // hexadecimal
}

// Objects is the bucket.
type Objects interface {
	Name() string
	Put(ctx context.Context, o Object, body io.Reader) error

	// Open opens an object for reading. It fails with fault.NotFound if the object does not exist.
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	Stat(ctx context.Context, key string) (Object, bool, error)
	Remove(ctx context.Context, key string) error
}

// Dependencies has the dependencies of an Uploader.
type Dependencies struct {
	Jobs     JobLog
	Progress Progress
	Staging  Staging
	Objects  Objects
}

// Uploader copies recordings into the bucket.
type Uploader struct{ Dependencies }

// New makes an Uploader.
func New(deps Dependencies) *Uploader { return &Uploader{deps} }

// HandleReceived copies an accepted upload into the bucket and appends the event `stored`. If the
// client has sent the recording to the bucket itself, HandleReceived only reads it. HandleReceived
// may run again for the same event, even concurrently in another replica. The parameter known is
// the log if the caller has it: then the log is read only if an append fails because known is
// outdated.
func (u *Uploader) HandleReceived(ctx context.Context, r event.Received, known event.Log) error {
	var (
		opening sync.WaitGroup
		staged  io.Reader
		openErr error
	)
	if r.Key == "" {
		opening.Go(func() { staged, openErr = u.Staging.Open(ctx, r.Staged()) })
	}
	log, err := known, error(nil)
	if len(known) == 0 {
		log, err = u.Jobs.Read(ctx, r.JobID)
	}
	opening.Wait()
	if err != nil {
		return err
	}
	object := objectOf(r)
	if storedOrEnded(log) {
		return u.cleanUp(ctx, log, object.Key)
	}
	if r.Key != "" {
		return u.examine(ctx, r, object, log)
	}
	var duration time.Duration
	if err = openErr; err == nil {
		duration, err = u.copyToBucket(ctx, r, object, staged)
	}
	if errors.Is(err, event.ErrStagingGone) {
		return u.handleMissingStaging(ctx, r, object)
	}
	if err != nil {
		return err
	}
	return u.appendStored(ctx, r, object, duration, log)
}

// copyToBucket copies a staged recording to the bucket. It returns the duration of the recording; 0
// if unknown.
func (u *Uploader) copyToBucket(ctx context.Context, r event.Received, o Object, staged io.Reader) (time.Duration, error) {
	meter := media.NewMeter(r.Size)
	body := &progressReader{ctx: ctx, progress: u.Progress, job: r.JobID, size: r.Size, body: io.TeeReader(staged, meter)}
	body.publish()
	if err := u.Objects.Put(ctx, o, body); err != nil {
		if readErr := body.readError(); errors.Is(readErr, event.ErrStagingGone) {
			return 0, readErr // the error of the S3 client may not wrap it
		}
		return 0, err
	}
	return meter.Info().Duration, nil
}

// appendStored appends the event `stored`, unless the recording is stored already or the job has
// ended, and removes what the job does not need any more.
func (u *Uploader) appendStored(ctx context.Context, r event.Received, o Object, duration time.Duration, known event.Log) error {
	log, err := u.Jobs.Update(ctx, r.JobID, known, func(log event.Log) (event.Event, error) {
		return storeRecording(log, event.Stored{
			JobID: r.JobID, TokenID: r.TokenID, TextGridURL: r.TextGridURL, PitchURL: r.PitchURL,
			Bucket: u.Objects.Name(), Key: o.Key, MediaType: o.MediaType, Size: o.Size, SHA256: o.SHA256,
			Duration: duration.Seconds(),
		}), nil
	})
	if err != nil {
		return err
	}
	if _, stored := event.Last[event.Stored](log); stored {
		zerolog.Ctx(ctx).Info().Int64(logging.Bytes, o.Size).Msg("recording stored")
	}
	return u.cleanUp(ctx, log, o.Key)
}

// handleMissingStaging handles an upload whose bytes are not in staging any more: either an earlier
// delivery has put the object, or the bytes are lost and the job fails.
func (u *Uploader) handleMissingStaging(ctx context.Context, r event.Received, o Object) error {
	found, ok, err := u.Objects.Stat(ctx, o.Key)
	if err != nil {
		return err
	}
	if ok && found.Size == o.Size && found.SHA256 == o.SHA256 {
		return u.appendStored(ctx, r, o, 0, nil)
	}
	return u.Fail(ctx, r.JobID, event.CodeStagingLost, "The uploaded audio was lost before it could be stored.")
}

// Fail appends the event `failed` to the log of a job, unless the recording is stored or the job
// has ended, and removes what the job does not need.
func (u *Uploader) Fail(ctx context.Context, job, code, detail string) error {
	log, err := u.Jobs.Update(ctx, job, nil, func(log event.Log) (event.Event, error) {
		return failUpload(log, event.Failed{JobID: job, Code: code, Detail: detail}), nil
	})
	if err != nil {
		return err
	}
	r, _ := event.Last[event.Received](log)
	return u.cleanUp(ctx, log, Key(job, r.FileName))
}

// cleanUp removes what a job does not need after its recording is stored or the job has ended. This
// is the staging entry, and also the object if the event `stored` was not appended, the job is
// erased, or the recording has expired.
func (u *Uploader) cleanUp(ctx context.Context, log event.Log, key string) error {
	if len(log) == 0 {
		return nil
	}
	if !keepsObject(log) {
		if err := u.Objects.Remove(ctx, key); err != nil {
			return err
		}
	}
	return u.Staging.Delete(ctx, uploadEntry(log))
}

// objectOf returns the object for the recording of an upload.
func objectOf(r event.Received) Object {
	return Object{Key: Key(r.JobID, r.FileName), MediaType: r.MediaType, Size: r.Size, SHA256: r.SHA256}
}

// progressInterval is the shortest time between two progress events of one upload.
const progressInterval = time.Second

// progressReader reads a body and publishes events `uploading`.
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
