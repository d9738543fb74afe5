package app_test

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sori.internal/services/uploader/internal/resumable"
	"sori.internal/services/uploader/internal/uploads"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
	"sori.internal/shared/uploadrequest"
)

func TestACompleteUploadWhoseJobCouldNotBeginIsFinishedLater(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	proxy := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	mina := env.callers(map[string]string{"S3_ENDPOINT": proxy.URL, "S3_STALL_TIMEOUT": "1s"}, "mina")[0]
	recording := wav(1 << 20)
	at := mina.create(0, fields{"Upload-Defer-Length": "1"})
	mina.patch(at, 0, recording, nil)
	proxy.Cut()
	if got := mina.patch(at, len(recording), nil, fields{"Upload-Length": strconv.Itoa(len(recording))}); got.status != http.StatusServiceUnavailable {
		t.Fatalf("declared while S3 is away: %+v", got)
	}
	if got := mina.tus("HEAD", at, nil, nil); got.status != http.StatusServiceUnavailable {
		t.Errorf("it is told to be complete: %+v", got)
	}
	proxy.Restore()
	finisher := env.core()
	var all sync.WaitGroup // clients request the upload while the finisher completes it
	all.Go(func() {
		if err := finisher.FinishAll(env.Context()); err != nil {
			t.Error(err)
		}
	})
	for range 2 {
		all.Go(func() {
			if got := mina.tus("HEAD", at, nil, nil); got.status != http.StatusOK || got.header.Get("Sori-Job") == "" {
				t.Errorf("HEAD meanwhile: %+v", got)
			}
		})
	}
	all.Wait()
	env.checkBecame(at, recording)
}

func TestAnUploadThatCannotBeFinishedDoesNotKeepOthersFromIt(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina, core := env.callers(nil, "mina")[0], env.core()
	recording := wav(1 << 20)
	var paths []string
	for range 2 {
		at := mina.create(len(recording), nil)
		s, err := core.Find(env.Context(), "mina", jobAt(at))
		must(t, err)
		_, err = core.Write(env.Context(), s, bytes.NewReader(recording), nil)
		must(t, err)
		if len(paths) == 0 {
			must(t, env.client.RemoveIncompleteUpload(env.Context(), env.bucket, s.Key))
		}
		paths = append(paths, at)
	}
	if err := core.FinishAll(env.Context()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), jobAt(paths[0])) {
		t.Errorf("the first: %v", err)
	}
	env.checkArrived(paths[1], recording)
}

// A client removes its upload while its last request still runs.
func TestAnUploadThatBecomesAJobWhileItIsRemovedIsNotSaidToBeRemoved(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina, core := env.callers(nil, "mina")[0], env.core()
	recording := wav(1000)
	at := mina.create(len(recording), nil)
	s, err := core.Find(env.Context(), "mina", jobAt(at))
	must(t, err)
	mina.patch(at, 0, recording, nil)
	if err := core.Abort(env.Context(), s); !fault.Is(err, fault.NotFound) || !s.Job {
		t.Errorf("removed: %v", err)
	}
	env.checkBecame(at, recording)
}

func TestAnUploadIsThereWhileItIsFinished(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(6 << 20)
	for n := range 10 {
		var kind fields
		if n%2 == 0 {
			kind = fields{"Upload-Concat": "partial", uploadrequest.Header: ""}
		}
		at := mina.create(len(recording), kind)
		answered := make(chan struct{})
		var asking sync.WaitGroup
		for range 4 {
			asking.Go(func() {
				for last := false; !last; {
					select {
					case <-answered:
						last = true
					default:
					}
					if got := mina.tus("HEAD", at, nil, nil); got.status != http.StatusOK {
						t.Errorf("HEAD: %+v", got)
						return
					}
				}
			})
		}
		if got := mina.patch(at, 0, recording, nil); got.status != http.StatusNoContent {
			t.Errorf("PATCH: %+v", got)
		}
		close(answered)
		asking.Wait()
		if got := mina.offset(at); got != len(recording) {
			t.Errorf("the offset is %d", got)
		}
	}
}

// A process may die after it has begun the job of an upload, before it removes the record of the
// upload. To restore this state, the test stores the record again after the job has ended.
func TestAnUploadWhoseRecordingIsRemovedIsCompleteAndAnErasedOneIsGone(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina, records := env.callers(nil, "mina")[0], uploads.New(env.bus)
	for name, c := range map[string]struct {
		end    func(job string)
		events string
		status int
	}{
		"expired": {func(job string) { env.append(event.Expired{JobID: job}) }, expiries, http.StatusOK},
		"erased":  {func(job string) { env.append(event.Erased{JobID: job}) }, erasures, http.StatusNotFound},
	} {
		recording := wav(100_000)
		b := mina.begin(uploadrequest.Description{})
		parts := mina.sendAll(b, recording)
		inParts, _, err := records.Find(env.Context(), event.WayMultipart, "mina", b.JobID)
		must(t, err)
		mina.complete(b, parts)
		at := mina.create(len(recording), nil)
		resumed, _, _, err := records.Load(env.Context(), "mina", jobAt(at))
		must(t, err)
		resumed.Offset, resumed.Next, resumed.Parts = resumed.Length, 2, []resumable.Part{{Number: 1, Size: resumed.Length}}
		mina.patch(at, 0, recording, nil)
		for _, job := range []string{b.JobID, jobAt(at)} {
			testkit.Await[event.Stored](env.Kit, env.bus, job)
			c.end(job)
		}
		env.Settled(c.events)
		must(t, records.Put(env.Context(), inParts))
		_, err = records.Save(env.Context(), resumed, 0)
		must(t, err)
		if got := mina.tus("HEAD", at, nil, nil); got.status != c.status || (got.header.Get("Sori-Job") != "") != (c.status == http.StatusOK) {
			t.Errorf("%s: HEAD: %+v", name, got)
		}
		if status, code := mina.call("POST", b.path("complete"), map[string]any{"parts": parts}, nil, nil); status != c.status {
			t.Errorf("%s: completed again: %d %s", name, status, code)
		}
		env.checkNothingLeft()
	}
}
