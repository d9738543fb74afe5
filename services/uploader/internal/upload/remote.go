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

// FetchError means that a recording cannot be fetched from its source. Code and Detail contain no
// part of the source except its host.
type FetchError struct {
	Code      string
	Detail    string // a sentence for operators
	Status    int    // HTTP status of the response; 0 without a response
	Retryable bool   // a later fetch may succeed
	Err       error  // the cause for the log, without the URL; not unwrapped, since it may be io.EOF
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
	// Fetch calls store with the bytes of a recording, from the first one. size is the size of the
	// whole recording, or -1 if the server does not declare it. If the connection breaks, the
	// reader resumes the fetch; if that is not possible, Fetch calls store again. Fetch calls
	// failed after each try that fails, except the last one. It returns the error of store, or a
	// FetchError.
	Fetch(ctx context.Context, src source.Source, failed func(*FetchError), store func(body io.Reader, size int64) error) error
}

// RemoteObjects is the bucket, and the buckets from which recordings are copied.
type RemoteObjects interface {
	Name() string
	// PutStream stores an object whose size is not known, completely or not at all. It returns errors
	// of body unchanged.
	PutStream(ctx context.Context, o Object, body io.Reader) error
	// HeadFrom returns the first n bytes of an object in another bucket, and describes the object.
	// It fails with a FetchError if there is no such object, or if it may not be read.
	HeadFrom(ctx context.Context, from source.Object, n int) ([]byte, RemoteObject, error)
	// CopyFrom copies an object from another bucket. S3 copies the bytes: they do not pass through
	// this process.
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
	OfOwner  int           // largest number of concurrent fetches of one owner; 0: any number
}

// RemoteUploader fetches recordings from their sources into the bucket.
//
// Each fetch writes an object of its own, since the file at the source may change between two
// fetches, and a fetch may run again or in two replicas at once. The object that the log names in
// stored is the recording. Each fetch removes the other objects; if it dies, the redelivery of its
// event does.
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

// Causes for which a fetch ends early.
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
		return err //nolint:wrapcheck // a failure that the client reads
	}
	retried, _ := event.Last[event.Retried](log)
	t := &transfer{uploader: u, job: received, source: src, attempt: retried.Attempt, try: 1}
	stored, err := t.run(ctx)
	if err != nil {
		return u.handleError(ctx, job, err)
	}
	log, err = u.Jobs.Update(ctx, job, log, func(log event.Log) (event.Event, error) {
		if retried, _ := event.Last[event.Retried](log); retried.Attempt != stored.Attempt {
			return nil, nil //nolint:nilnil // a later fetch stores the recording
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

// handleError fails the job if its recording cannot be fetched. Any other error is returned, so that
// the event is delivered again: the fetch is repeated or, if the job has ended, its objects are
// removed again, since S3 may store an object after a request without an answer. An error is not
// returned if it was caused only by the end of the job.
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
		return cause // the recording was fetched, but could not be stored
	}
	zerolog.Ctx(ctx).Warn().Err(f).Str(logging.Code, f.Code).Msg("recording not fetched")
	return u.Fail(ctx, job, event.Failed{JobID: job, Code: f.Code, Detail: f.Detail, Retryable: f.Retryable})
}

// Fail appends failed to the log of a job whose recording is not stored and which has not ended,
// and removes the objects that the job does not need.
func (u *RemoteUploader) Fail(ctx context.Context, job string, failed event.Failed) error {
	_, err := u.Jobs.Update(ctx, job, nil, func(log event.Log) (event.Event, error) {
		return failUpload(log, failed), nil
	})
	if err != nil {
		return err
	}
	return u.cleanUp(ctx, job)
}

// cleanUp removes the objects of a job that are not its recording. It lists them before it reads
// the log: the listing may take as long as S3 is unavailable, and a retry that comes meanwhile
// begins a fetch that stores another object. While such a fetch runs, nothing is removed: it cleans
// up itself.
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
