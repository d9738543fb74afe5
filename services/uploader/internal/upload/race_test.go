package upload_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"testing"

	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
)

// env is a test environment with the real dependencies of the core.
type env struct {
	*testkit.Kit
	t       *testing.T
	bus     *bus.Bus
	jobs    *joblog.Store
	staging *staging.Store
	bucket  *objects.Bucket
}

func newEnv(t *testing.T) *env {
	t.Helper()
	k := testkit.New(t)
	client, name := k.Bucket()
	b := k.Bus("uploader", event.Jobs(), event.Staging())
	return &env{Kit: k, t: t, bus: b, jobs: joblog.New(b), staging: staging.New(b), bucket: objects.New(client, client, name)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// upload stages a recording of size bytes for a new job, and appends the event `received`.
func (env *env) upload(size int) event.Received {
	env.t.Helper()
	return env.uploadTo("", env.NewJob(), size)
}

// uploadTo stages a recording of a job in an entry, and appends the event `received`. If entry is
// empty, the name of the entry is the job's id.
func (env *env) uploadTo(entry, job string, size int) event.Received {
	env.t.Helper()
	body := bytes.Repeat([]byte("sori"), size/4)
	sum := sha256.Sum256(body)
	e := event.Received{JobID: job, Entry: entry, FileName: "a.wav", MediaType: "audio/wav", SHA256: hex.EncodeToString(sum[:])}
	staged, err := env.staging.Put(env.Context(), e.Staged().Entry, bytes.NewReader(body))
	must(env.t, err)
	e.Size, e.Chunks = staged.Size, staged.Chunks
	env.append(e)
	return e
}

// uploader makes an Uploader.
func (env *env) uploader(bucket upload.Objects) *upload.Uploader {
	return upload.New(upload.Dependencies{Jobs: env.jobs, Progress: env.bus, Staging: env.staging, Objects: bucket})
}

// first returns the known log that the consumer passes with the first delivery of the event
// `received`.
func (env *env) first(e event.Received) event.Log {
	env.t.Helper()
	log, err := env.jobs.Read(env.Context(), e.JobID)
	must(env.t, err)
	return event.Log{{Event: e, Seq: log[0].Seq, Time: log[0].Time}}
}

func (env *env) append(e event.Event) {
	env.t.Helper()
	env.Append(env.bus, e)
}

// checkEnd checks the events in the log of a job, whether the job's object exists, and that staging
// is empty.
func (env *env) checkEnd(e event.Received, object bool, names ...event.Name) {
	env.t.Helper()
	if got := env.EventNames(env.bus, e.JobID); !slices.Equal(got, names) {
		env.t.Errorf("log %v, want %v", got, names)
	}
	_, found, err := env.bucket.Stat(env.Context(), upload.Key(e.JobID, e.FileName))
	if err != nil || found != object {
		env.t.Errorf("object: %v %v, want %v", found, err, object)
	}
	entries, err := env.staging.Entries(env.Context())
	if err != nil || len(entries) > 0 {
		env.t.Errorf("staged: %v %v", entries, err)
	}
}

// hooks is a bucket that calls a function before or after it puts an object.
type hooks struct {
	upload.Objects
	before, after func() error
}

func (b hooks) Put(ctx context.Context, o upload.Object, body io.Reader) error {
	if b.before != nil {
		if err := b.before(); err != nil {
			return err
		}
	}
	err := b.Objects.Put(ctx, o, body)
	if b.after != nil && err == nil {
		err = b.after()
	}
	return err
}

// places returns, by name, the moments of a copy at which a test can call a function.
func places() map[string]func(hooks, func() error) hooks {
	return map[string]func(hooks, func() error) hooks{
		"before the object": func(b hooks, f func() error) hooks { b.before = f; return b },
		"after the object":  func(b hooks, f func() error) hooks { b.after = f; return b },
	}
}

func TestAJobThatEndsBeforeTheFirstDeliveryLosesItsObject(t *testing.T) {
	t.Parallel()
	for _, end := range []event.Name{event.NameCanceled, event.NameErased} {
		t.Run(string(end), func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			e := env.upload(1 << 20)
			known := env.first(e)
			if end == event.NameCanceled {
				env.append(event.Canceled{JobID: e.JobID})
			} else {
				env.append(event.Erased{JobID: e.JobID, Staged: []string{e.Staged().Entry}})
			}
			must(t, env.uploader(env.bucket).HandleReceived(env.Context(), e, known))
			env.checkEnd(e, false, event.NameReceived, end)
		})
	}
}

func TestAJobThatEndsDuringTheCopyLosesItsObject(t *testing.T) {
	t.Parallel()
	for name, place := range places() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			e := env.upload(1 << 20)
			uploader := env.uploader(place(hooks{Objects: env.bucket}, func() error {
				env.append(event.Canceled{JobID: e.JobID})
				return nil
			}))
			must(t, uploader.HandleReceived(env.Context(), e, env.first(e)))
			env.checkEnd(e, false, event.NameReceived, event.NameCanceled)
			must(t, uploader.HandleReceived(env.Context(), e, nil))
			env.checkEnd(e, false, event.NameReceived, event.NameCanceled)
		})
	}
}

func TestAnotherReplicaThatFinishesFirstIsNoFailure(t *testing.T) {
	t.Parallel()
	for name, place := range places() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			e := env.upload(1 << 20)
			other := env.uploader(env.bucket)
			uploader := env.uploader(place(hooks{Objects: env.bucket}, func() error { return other.HandleReceived(env.Context(), e, nil) }))
			must(t, uploader.HandleReceived(env.Context(), e, env.first(e)))
			env.checkEnd(e, true, event.NameReceived, event.NameStored)
		})
	}
}

func TestACrashAfterTheObjectIsFinishedByTheNextDelivery(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.upload(1 << 20)
	crash := errors.New("the process died")
	uploader := env.uploader(hooks{Objects: env.bucket, after: func() error { return crash }})
	if err := uploader.HandleReceived(env.Context(), e, env.first(e)); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	must(t, env.uploader(env.bucket).HandleReceived(env.Context(), e, nil))
	env.checkEnd(e, true, event.NameReceived, event.NameStored)
}

// failingStaging fails at the first deletion of an entry.
type failingStaging struct {
	upload.Staging
	err *error
}

func (s failingStaging) Delete(ctx context.Context, entry string) error {
	if err := *s.err; err != nil {
		*s.err = nil
		return err
	}
	return s.Staging.Delete(ctx, entry)
}

func TestACrashBeforeTheCleanUpIsFinishedByTheNextDelivery(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.upload(1 << 20)
	crash := fault.Unreachable("message bus", nil)
	var err error = crash
	uploader := upload.New(upload.Dependencies{Jobs: env.jobs, Progress: env.bus, Staging: failingStaging{env.staging, &err}, Objects: env.bucket})
	if err := uploader.HandleReceived(env.Context(), e, nil); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	must(t, uploader.HandleReceived(env.Context(), e, nil))
	env.checkEnd(e, true, event.NameReceived, event.NameStored)
}

func TestFailingAStoredJobOrOneThatDoesNotExistChangesNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	uploader := env.uploader(env.bucket)
	e := env.upload(1000)
	must(t, uploader.HandleReceived(env.Context(), e, nil))
	must(t, uploader.Fail(env.Context(), e.JobID, "unreadable-event", "no"))
	env.checkEnd(e, true, event.NameReceived, event.NameStored)
	unknown := env.NewJob()
	must(t, uploader.Fail(env.Context(), unknown, "unreadable-event", "no"))
	if names := env.EventNames(env.bus, unknown); len(names) > 0 {
		t.Errorf("log %v", names)
	}
}

func TestARecordingIsCopiedFromTheEntryThatItsEventNames(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	job := env.NewJob()
	entry, err := event.UploadEntry(job)
	must(t, err)
	e := env.uploadTo(entry, job, 1<<20)
	for range 2 {
		must(t, env.uploader(env.bucket).HandleReceived(env.Context(), e, nil))
		env.checkEnd(e, true, event.NameReceived, event.NameStored)
	}
}
