package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

// Both replicas fetch at the same time, and the server sends each of them another file.
func TestOfTwoReplicasThatFetchOneWins(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	bodies := [][]byte{wav(10_044), wav(20_044)}
	var n atomic.Int64
	both := make(chan struct{})
	e := env.analyzeURL(env.serve(func(w http.ResponseWriter, _ *http.Request) {
		i := n.Add(1)
		if i == 2 {
			close(both)
		}
		<-both
		_, _ = w.Write(bodies[i-1])
	}))
	u := env.remoteUploader(objects.New(env.client, env.client, env.bucket))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := u.Handle(env.Context(), e.JobID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if names := env.EventNames(env.bus, e.JobID); !slices.Equal(names, []event.Name{event.NameReceived, event.NameStored}) {
		t.Fatalf("log %v", names)
	}
	stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	env.checkKeys(stored.Key)
	i := slices.IndexFunc(bodies, func(b []byte) bool { return int64(len(b)) == stored.Size })
	env.checkStored(stored, bodies[i])
}

// slowBucket calls a function before it answers a listing.
type slowBucket struct {
	*objects.Bucket
	meanwhile func()
}

// ListPrefix implements upload.RemoteObjects.
func (b slowBucket) ListPrefix(ctx context.Context, prefix string) (func(context.Context, string) error, error) {
	b.meanwhile()
	return b.Bucket.ListPrefix(ctx, prefix)
}

// S3 is unavailable while a failed fetch cleans up, and a retry fetches the recording meanwhile.
func TestAFailedFetchLeavesTheRecordingOfARetry(t *testing.T) {
	t.Parallel()
	env, body := newEnv(t), wav(10_044)
	var found atomic.Bool
	e := env.analyzeURL(env.serve(func(w http.ResponseWriter, _ *http.Request) {
		if !found.Load() {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(body)
	}))
	bucket := objects.New(env.client, env.client, env.bucket)
	first := env.remoteUploader(slowBucket{bucket, func() {
		found.Store(true)
		env.append(event.Retried{JobID: e.JobID, Attempt: 1, Fetch: true})
		must(t, env.remoteUploader(bucket).Handle(env.Context(), e.JobID))
	}})
	must(t, first.Handle(env.Context(), e.JobID))
	stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	env.checkStored(stored, body)
	env.checkKeys(stored.Key)
}

// lateBucket is S3 that is paused when it has received an object. It stores the object when it
// receives the next request.
type lateBucket struct {
	*objects.Bucket
	received func() // is called when S3 has received the object
	stalls   bool   // the request ends with the error of a server that does not answer

	late func()
}

// PutStream implements upload.RemoteObjects.
func (b *lateBucket) PutStream(ctx context.Context, o upload.Object, body io.Reader) error {
	all, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	b.received()
	put := func() error { return b.Bucket.PutStream(context.WithoutCancel(ctx), o, bytes.NewReader(all)) }
	if b.stalls {
		b.late = func() { _ = put() }
		return fault.Unreachable("storage", errors.New("no answer"))
	}
	select {
	case <-ctx.Done():
		b.late = func() { _ = put() }
		return ctx.Err()
	case <-time.After(2 * time.Second): // longer than it takes until the fetch finds that its job has ended
		return put()
	}
}

// ListPrefix implements upload.RemoteObjects.
func (b *lateBucket) ListPrefix(ctx context.Context, prefix string) (func(context.Context, string) error, error) {
	defer func() {
		if b.late != nil {
			b.late()
			b.late = nil
		}
	}()
	return b.Bucket.ListPrefix(ctx, prefix)
}

// S3 has received the whole recording and has not answered yet when the job ends.
func TestAnObjectThatIsStoredAfterTheEndOfItsJobIsRemoved(t *testing.T) {
	t.Parallel()
	for name, stalls := range map[string]bool{"S3 answers late": false, "S3 does not answer": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			e := env.analyzeURL(env.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(wav(10_044)) }))
			bucket := &lateBucket{Bucket: objects.New(env.client, env.client, env.bucket), stalls: stalls}
			bucket.received = func() { env.append(event.Canceled{JobID: e.JobID}) }
			u := env.remoteUploader(bucket)
			err := u.Handle(env.Context(), e.JobID)
			if stalls {
				if !fault.Is(err, fault.Unavailable) {
					t.Fatalf("the event is not delivered again: %v", err)
				}
				err = u.Handle(env.Context(), e.JobID)
			}
			must(t, err)
			env.checkKeys()
		})
	}
}

// S3 does not answer until the time for the fetch is over. The server of the recording is not to blame.
func TestAFetchWhoseTimeIsOverWhileS3IsAwayIsRepeated(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.analyzeURL(env.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(wav(10_044)) }))
	bucket := &lateBucket{Bucket: objects.New(env.client, env.client, env.bucket), stalls: true}
	over, cancel := context.WithTimeout(env.Context(), time.Second)
	defer cancel()
	bucket.received = func() { <-over.Done() }
	u := env.remoteUploader(bucket, func(o *upload.RemoteOptions) { o.Timeout = time.Second / 2 })
	if err := u.Handle(env.Context(), e.JobID); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("the event is not delivered again: %v", err)
	}
	if names := env.EventNames(env.bus, e.JobID); !slices.Equal(names, []event.Name{event.NameReceived}) {
		t.Errorf("log %v", names)
	}
}

// A retry begins another fetch while an older one, which the log does not know, has stored its object.
func TestAnOlderFetchDoesNotStoreTheRecordingOfARetry(t *testing.T) {
	t.Parallel()
	env, body := newEnv(t), wav(10_044)
	fetched, goOn := make(chan struct{}), make(chan struct{})
	e := env.analyzeURL(env.serve(func(w http.ResponseWriter, _ *http.Request) {
		close(fetched)
		<-goOn
		_, _ = w.Write(body)
	}))
	older := make(chan error, 1)
	go func() {
		older <- env.remoteUploader(objects.New(env.client, env.client, env.bucket)).Handle(env.Context(), e.JobID)
	}()
	<-fetched
	env.append(event.Failed{JobID: e.JobID, Code: event.CodeFetchFailed, Retryable: true})
	env.append(event.Retried{JobID: e.JobID, Attempt: 1, Fetch: true})
	close(goOn)
	must(t, <-older)
	log, err := env.jobs.Read(env.Context(), e.JobID)
	must(t, err)
	if last := log[len(log)-1].Event.Name(); last != event.NameRetried {
		t.Errorf("the log ends with %s", last)
	}
}
