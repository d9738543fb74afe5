package app_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/resumable"
	"sori.internal/services/uploader/internal/uploads"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
	"sori.internal/shared/uploadrequest"
)

// heldJobs are logs of jobs. Append waits until held is closed, and closes appending before that.
// After Append has begun, Read closes read.
type heldJobs struct {
	direct.JobLog
	appending, held, read chan struct{}
	failed                error // Append fails with it; nil: Append appends
}

// Append implements direct.JobLog.
func (j *heldJobs) Append(ctx context.Context, e event.Event, after uint64) (uint64, error) {
	close(j.appending)
	<-j.held
	if j.failed != nil {
		return 0, j.failed
	}
	return j.JobLog.Append(ctx, e, after)
}

// Read implements direct.JobLog.
func (j *heldJobs) Read(ctx context.Context, job string) (event.Log, error) {
	log, err := j.JobLog.Read(ctx, job)
	select {
	case <-j.appending:
		select {
		case j.read <- struct{}{}:
		default:
		}
	default:
	}
	return log, err
}

// heldCore returns a core whose Append waits.
func (env *env) heldCore() (*direct.Core, *heldJobs) {
	jobs := &heldJobs{JobLog: env.jobs, appending: make(chan struct{}), held: make(chan struct{}), read: make(chan struct{}, 1)}
	return direct.New(direct.Dependencies{
		Records: uploads.New(env.bus), Bucket: objects.New(env.client, env.client, env.bucket), Jobs: jobs,
	}, direct.Options{MaxBytes: 1 << 30, MaxOpen: 10, Expiry: 24 * time.Hour}), jobs
}

// A client aborts an upload while another request of it completes the upload: the parts are joined, and
// the job begins a moment later. The job had no recording, and failed with staging-lost.
func TestAnUploadThatIsAbortedWhileItsJobBeginsKeepsItsRecording(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	b := mina.begin(uploadrequest.Description{})
	sent := mina.sendAll(b, wav(1<<20))
	core, jobs := env.heldCore()
	handle := direct.Handle{Owner: "mina", Key: b.Key, S3ID: b.UploadID}
	completed, aborted := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := core.Complete(env.Context(), handle, []direct.Part{{Number: sent[0].PartNumber, ETag: sent[0].ETag}})
		completed <- err
	}()
	env.wait(jobs.appending)
	go func() { aborted <- core.Abort(env.Context(), handle) }()
	env.wait(jobs.read) // the abort has seen that there is no job yet
	close(jobs.held)
	must(t, <-completed)
	if err := <-aborted; !fault.Is(err, fault.NotFound) {
		t.Errorf("the abort: %v", err)
	}
	testkit.Await[event.Stored](env.Kit, env.bus, b.JobID)
	env.checkNothingLeft()
}

// The same for a resumable upload.
func TestAResumableUploadThatIsRemovedWhileItsJobBeginsKeepsItsRecording(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(1000)
	at := mina.create(len(recording), nil)
	d, jobs := env.heldCore()
	core := resumable.New(resumable.Dependencies{Direct: d, Records: uploads.New(env.bus), Bucket: objects.New(env.client, env.client, env.bucket), Jobs: env.jobs}, resumable.Limits{Writers: 1})
	s, err := core.Find(env.Context(), "mina", jobAt(at))
	must(t, err)
	_, err = core.Write(env.Context(), s, bytes.NewReader(recording), nil)
	must(t, err)
	other, err := core.Find(env.Context(), "mina", jobAt(at))
	must(t, err)
	finished, removed := make(chan error, 1), make(chan error, 1)
	go func() { finished <- core.Finish(env.Context(), s) }()
	env.wait(jobs.appending)
	go func() { removed <- core.Abort(env.Context(), other) }()
	env.wait(jobs.read)
	close(jobs.held)
	must(t, <-finished)
	if err := <-removed; !fault.Is(err, fault.NotFound) || !other.Job {
		t.Errorf("removed: %v", err)
	}
	env.checkBecame(at, recording)
}

// The process that has joined the parts could not begin the job. The client gives the upload up.
func TestAnUploadWhoseJobCouldNotBeginCanBeAborted(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	b := mina.begin(uploadrequest.Description{})
	sent := mina.sendAll(b, wav(1<<20))
	core, jobs := env.heldCore()
	jobs.failed = fault.Unreachable("message bus", errors.New("no answer"))
	close(jobs.held)
	handle := direct.Handle{Owner: "mina", Key: b.Key, S3ID: b.UploadID}
	if _, err := core.Complete(env.Context(), handle, []direct.Part{{Number: sent[0].PartNumber, ETag: sent[0].ETag}}); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("completed: %v", err)
	}
	env.checkKeys(b.Key)
	must(t, core.Abort(env.Context(), handle))
	env.checkKeys()
	env.checkNothingLeft()
}
