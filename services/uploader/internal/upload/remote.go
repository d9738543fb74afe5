package upload

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/logging"
	"sori.internal/shared/source"
)

// FetchError means that a recording cannot be fetched from its source. Code and Detail contain at
// most the host of the source, so that clients and operators may see them.
type FetchError struct {
	Code      string
	Detail    string // a sentence for operators
	Status    int    // HTTP status of the answer; 0 if there was none
	Retryable bool   // a retry of the job may succeed
	Err       error  // cause without the URL, for the log; there is no Unwrap, since Err may be io.EOF
}

// Error implements error.
func (e *FetchError) Error() string {
	if e.Err == nil {
		return e.Code + ": " + e.Detail
	}
	return e.Code + ": " + e.Detail + " " + e.Err.Error()
}

// Fetcher fetches recordings by HTTP.
type Fetcher interface {
	// Fetch calls store with a reader of the recording. size is the size of the whole recording, or
	// -1 if the server does not state it. If the connection breaks, the reader resumes the fetch;
	// if it cannot be resumed, Fetch calls store again with a new reader. Fetch calls failed after
	// each failed try except the last one. It returns the error of store, or a FetchError.
	Fetch(ctx context.Context, src source.Source, failed func(*FetchError), store func(body io.Reader, size int64) error) error
}

// RemoteObjects is the bucket, and the buckets from which recordings are copied.
type RemoteObjects interface {
	Name() string
	// PutStream stores an object of unknown size, completely or not at all. Errors of body are
	// returned unchanged.
	PutStream(ctx context.Context, o Object, body io.Reader) error
	// HeadFrom returns the first n bytes of an object in another bucket, and its size and ETag. It
	// fails with a FetchError if the object does not exist, or if access is denied.
	HeadFrom(ctx context.Context, from source.Object, n int) ([]byte, RemoteObject, error)
	// CopyFrom makes S3 copy an object from another bucket. It fails if the object is not the one
	// that HeadFrom has found.
	CopyFrom(ctx context.Context, from source.Object, found RemoteObject, to Object) error
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	// ListPrefix lists the objects whose key has a prefix, and the unfinished multipart uploads to
	// such keys. It returns a function that removes them, except the object with the key keep.
	ListPrefix(ctx context.Context, prefix string) (remove func(ctx context.Context, keep string) error, err error)
}

// RemoteObject describes an object in another bucket.
type RemoteObject struct {
	Size int64 // bytes
	ETag string
}

// Sources opens sealed sources.
type Sources interface {
	Open(job, sealed string) (source.Source, error)
}

// RemoteDependencies has the dependencies of a RemoteUploader.
type RemoteDependencies struct {
	Jobs     JobLog
	Progress Progress
	Objects  RemoteObjects
	Fetcher  Fetcher
	Sources  Sources
}

// RemoteOptions has the settings of the operator.
type RemoteOptions struct {
	Allowed  source.Allowed
	MaxBytes int64         // largest size of a recording, in bytes
	Timeout  time.Duration // time limit of one fetch, with all its tries
	OfOwner  int           // largest number of concurrent fetches of one owner; 0 means no limit
}

// RemoteUploader fetches recordings from their sources into the bucket.
//
// Each fetch stores an object with its own key. Otherwise a further fetch of the job, later or in
// another replica, could overwrite the recording with another version of the file. The recording is
// the object that the event `stored` names. Each fetch removes the other objects of the job. If it
// dies before that, the redelivery of its event removes them.
type RemoteUploader struct {
	RemoteDependencies
	options RemoteOptions
	shares  shares
}

// NewRemote makes a RemoteUploader.
func NewRemote(deps RemoteDependencies, options RemoteOptions) *RemoteUploader {
	return &RemoteUploader{RemoteDependencies: deps, options: options, shares: shares{most: options.OfOwner, running: map[string]int{}}}
}

// watchInterval is how often a fetch checks whether its job has ended.
const watchInterval = time.Second

// The causes with which a fetch is canceled.
var (
	errNotNeeded = errors.New("the recording is stored or its job has ended")
	errTimeout   = errors.New("the time for the fetch is over")
)

// Handle fetches the recording of a job that has a source. It may run again for the same job, even
// concurrently in another replica.
func (u *RemoteUploader) Handle(ctx context.Context, job string) error {
	log, err := u.Jobs.Read(ctx, job)
	if err != nil {
		return err
	}
	if storedOrEnded(log) {
		return u.cleanUp(ctx, job)
	}
	received, ok := event.Last[event.Received](log)
	if !ok {
		return nil // the log has expired
	}
	free, err := u.shares.take(received.Owner)
	if err != nil {
		return err
	}
	defer free()
	src, err := u.Sources.Open(job, received.Source)
	if err != nil {
		return err //nolint:wrapcheck // its code and detail are for the client
	}
	retried, _ := event.Last[event.Retried](log)
	t := &transfer{uploader: u, job: received, source: src, attempt: retried.Attempt, try: 1}
	stored, err := t.run(ctx)
	if err != nil {
		return u.handleError(ctx, job, err)
	}
	log, err = u.Jobs.Update(ctx, job, log, func(log event.Log) (event.Event, error) {
		if retried, _ := event.Last[event.Retried](log); retried.Attempt != stored.Attempt {
			return nil, nil //nolint:nilnil // the fetch of a newer retry stores the recording
		}
		return storeRecording(log, stored), nil
	})
	if err != nil {
		return err
	}
	if kept, _ := event.Last[event.Stored](log); kept.Key == stored.Key {
		zerolog.Ctx(ctx).Info().Int64(logging.Bytes, stored.Size).Msg("recording fetched")
	}
	return u.cleanUp(ctx, job)
}

// handleError handles the error of a fetch:
//
//  1. If the job has ended or its recording is stored, handleError removes the objects that are not
//     needed. It returns the error if S3 may still store an object, so that a redelivery removes
//     that object, too.
//  2. If the recording cannot be fetched, it fails the job.
//  3. It returns any other error, so that the fetch is repeated.
func (u *RemoteUploader) handleError(ctx context.Context, job string, cause error) error {
	log, err := u.Jobs.Read(ctx, job)
	if err != nil {
		return errors.Join(cause, err)
	}
	var f *FetchError
	known := errors.As(cause, &f) || errors.Is(cause, errNotNeeded) // nothing is stored
	if storedOrEnded(log) {
		if err := u.cleanUp(ctx, job); err != nil || known {
			return err
		}
	}
	if f == nil {
		return cause // S3 or NATS failed, not the fetch
	}
	zerolog.Ctx(ctx).Warn().Err(f).Str(logging.Code, f.Code).Msg("recording not fetched")
	return u.Fail(ctx, job, event.Failed{JobID: job, Code: f.Code, Detail: f.Detail, Retryable: f.Retryable})
}

// Fail appends the event `failed` to the log of a job, unless the recording is stored or the job
// has ended, and removes the objects that the job does not need.
func (u *RemoteUploader) Fail(ctx context.Context, job string, failed event.Failed) error {
	_, err := u.Jobs.Update(ctx, job, nil, func(log event.Log) (event.Event, error) {
		return failUpload(log, failed), nil
	})
	if err != nil {
		return err
	}
	return u.cleanUp(ctx, job)
}

// cleanUp removes the objects of a job that are not its recording, if the recording is stored or
// the job has ended. While a fetch of the job is running, it removes nothing: that fetch cleans up
// itself.
//
// cleanUp lists the objects before it reads the log. If it listed them afterwards and had to wait
// for S3, a retry could meanwhile store a recording, which cleanUp would remove.
func (u *RemoteUploader) cleanUp(ctx context.Context, job string) error {
	remove, err := u.Objects.ListPrefix(ctx, keyPrefix(job))
	if err != nil {
		return err
	}
	log, err := u.Jobs.Read(ctx, job)
	if err != nil || len(log) == 0 || !storedOrEnded(log) {
		return err
	}
	keep := ""
	if stored, _ := event.Last[event.Stored](log); keepsObject(log) {
		keep = stored.Key
	}
	return remove(ctx, keep)
}
