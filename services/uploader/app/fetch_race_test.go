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

// Two replicas fetch the same recording at the same time, and the server sends each of them a
// different file. One of the files must become the recording.
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

// slowBucket calls meanwhile before it lists objects.
type slowBucket struct {
	*objects.Bucket
	meanwhile func()
}

// ListPrefix implements upload.RemoteObjects.
func (b slowBucket) ListPrefix(ctx context.Context, prefix string) (func(context.Context, string) error, error) {
	b.meanwhile()
	return b.Bucket.ListPrefix(ctx, prefix)
}

// While a failed fetch waits for S3 to list its objects, a retry fetches and stores the recording.
// The failed fetch must not remove the object of the retry.
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

// lateBucket is a bucket whose S3 server pauses after it has received an object. It stores the
// object when it gets the next request.
type lateBucket struct {
	*objects.Bucket
	received func() // called when S3 has received the object
	stalls   bool   // the put returns an error, as if S3 did not answer in time

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
	case <-time.After(2 * time.Second): // the fetch finds within a second that its job has ended
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

// The job ends after S3 has received the whole recording, but before S3 answers. The object must be
// removed whenever S3 stores it.
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

// The time limit of the fetch passes while S3 does not answer. The job must not fail with
// fetch-timeout, which would blame the recording's server: the event must be redelivered.
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

// A retry begins another fetch after an older fetch, which another replica runs, has stored its
// object. The older fetch must not append the event `stored`.
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
