package upload_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/rs/zerolog"

	"sori.internal/services/uploader/internal/fetch"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/bus"
	"sori.internal/shared/deadletter"
	"sori.internal/shared/event"
	"sori.internal/shared/source"
	"sori.internal/shared/testkit/faults"
)

// Every operation of a dependency fails once, in each scenario. The event is redelivered, and the
// job must have the same recording, and leave the same objects and staging entries, as if nothing
// had failed.
func TestARecordingIsStoredOnceWhicheverOperationFails(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(*history){
		"an upload in a form":                copied,
		"an upload whose bytes were lost":    lost,
		"an upload that was canceled":        canceled,
		"an upload to the bucket":            examined,
		"an upload that is not as announced": mistaken,
		"a recording at a URL":               fetched,
		"a recording that was not found":     notFound,
		"a recording in another bucket":      copiedFrom,
		"an erasure":                         erasedJob,
		"an expiry":                          expired,
		"a sweep of staging":                 swept,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			client, name := env.Bucket()
			faults.Sweep(t, func(f *faults.Plan) {
				h := &history{env: env, f: f, client: client, name: name, recording: wav(f)}
				play(h)
				h.leaves()
			})
		})
	}
}

// history is one run of a scenario.
type history struct {
	*env

	f         *faults.Plan
	client    *minio.Client
	name      string // of the bucket
	recording []byte
	job       string
}

// wav returns a recording of a tenth of a second. No two plans have the same.
func wav(f *faults.Plan) []byte {
	const head = "RIFF\xa4\x0c\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x80\x0c\x00\x00"
	samples := make([]byte, 3200)
	copy(samples, fmt.Sprintf("%p", f))
	return append([]byte(head), samples...)
}

// handle calls a handler until it succeeds, as redeliveries do.
func (h *history) handle(what string, handler func(delivery int) error) {
	h.t.Helper()
	for n := 1; ; n++ {
		err := handler(n)
		verdict := bus.VerdictOn(err, uint64(n))
		if verdict == bus.Ack {
			return
		}
		if verdict == bus.Reject || n == 3 {
			h.t.Errorf("%s, delivery %d: %v", what, n, err)
			return
		}
	}
}

func (h *history) uploader() *upload.Uploader {
	return upload.New(upload.Dependencies{
		Jobs: faultyJobs{h.f, h.jobs}, Progress: faultyProgress{h.f, h.bus}, Staging: faultyStaging{h.f, h.staging},
		Objects: faultyObjects{h.bucket, h.f},
	})
}

// receive handles received, and checks the log and the recording.
func (h *history) receive(e event.Received, names ...event.Name) {
	h.t.Helper()
	h.job = e.JobID
	uploader := h.uploader()
	h.handle("received", func(delivery int) error {
		var known event.Log
		if delivery == 1 {
			known = h.first(e)
		}
		return uploader.HandleReceived(h.Context(), e, known)
	})
	h.ends(names...)
}

// ends checks the log of the job. If the recording is stored, it checks the recording.
func (h *history) ends(names ...event.Name) {
	h.t.Helper()
	if got := h.EventNames(h.bus, h.job); !slices.Equal(got, names) {
		h.t.Errorf("log %v, want %v", got, names)
	}
	log, err := h.jobs.Read(h.Context(), h.job)
	must(h.t, err)
	stored, ok := event.Last[event.Stored](log)
	if !ok {
		return
	}
	body, err := h.bucket.Open(h.Context(), stored.Key)
	must(h.t, err)
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(got, h.recording) || stored.Size != int64(len(got)) || stored.MediaType != "audio/wav" {
		h.t.Errorf("%d bytes, %v; %+v", len(got), err, stored)
	}
}

// leaves checks that the job has no object but its recording, and that staging is empty.
func (h *history) leaves() {
	h.t.Helper()
	want := 0
	if log, err := h.jobs.Read(h.Context(), h.job); err != nil {
		h.t.Fatal(err)
	} else if _, stored := event.Last[event.Stored](log); stored && !log.Erased() && !log.AudioExpired() {
		want = 1
	}
	var keys []string
	for o := range h.client.ListObjects(h.Context(), h.name, minio.ListObjectsOptions{Prefix: "audio/" + h.job, Recursive: true}) {
		must(h.t, o.Err)
		keys = append(keys, o.Key)
	}
	if len(keys) != want {
		h.t.Errorf("objects %v, want %d", keys, want)
	}
	if staged := h.staged(); len(staged) > 0 {
		h.t.Errorf("staged %v", staged)
	}
}

// inStaging stages the recording and appends received.
func (h *history) inStaging() event.Received {
	h.t.Helper()
	e := event.Received{JobID: h.NewJob(), FileName: "a.wav", MediaType: "audio/wav", SHA256: sumOf(h.recording)}
	staged, err := h.staging.Put(h.Context(), e.JobID, bytes.NewReader(h.recording))
	must(h.t, err)
	e.Size, e.Chunks = staged.Size, staged.Chunks
	h.append(e)
	return e
}

// inBucket puts the recording into the bucket, as a client does, and appends received with the
// announced hash.
func (h *history) inBucket(sum string) event.Received {
	h.t.Helper()
	e := event.Received{JobID: h.NewJob(), FileName: "a.wav", Size: int64(len(h.recording)), SHA256: sum}
	e.Key = upload.Key(e.JobID, e.FileName)
	h.put(h.name, e.Key)
	h.append(e)
	return e
}

func (h *history) put(bucket, key string) {
	h.t.Helper()
	_, err := h.client.PutObject(h.Context(), bucket, key, bytes.NewReader(h.recording), int64(len(h.recording)), minio.PutObjectOptions{})
	must(h.t, err)
}

func copied(h *history) { h.receive(h.inStaging(), event.NameReceived, event.NameStored) }

func lost(h *history) {
	e := h.inStaging()
	must(h.t, h.staging.Delete(h.Context(), e.JobID))
	h.receive(e, event.NameReceived, event.NameFailed)
}

func canceled(h *history) {
	e := h.inStaging()
	known := h.first(e)
	h.append(event.Canceled{JobID: e.JobID})
	h.job = e.JobID
	uploader := h.uploader()
	h.handle("received", func(int) error { return uploader.HandleReceived(h.Context(), e, known) })
	h.ends(event.NameReceived, event.NameCanceled)
}

func examined(h *history) {
	h.receive(h.inBucket(sumOf(h.recording)), event.NameReceived, event.NameStored)
}

func mistaken(h *history) {
	h.receive(h.inBucket(sumOf(nil)), event.NameReceived, event.NameFailed)
}

// fetch handles received of a recording that is fetched from a URL.
func (h *history) fetch(url, allowed string, names ...event.Name) {
	h.t.Helper()
	h.job = h.NewJob()
	sealer, err := source.NewSealer("secret")
	must(h.t, err)
	sealed, err := sealer.Seal(h.job, source.Source{URL: url})
	must(h.t, err)
	h.append(event.Received{JobID: h.job, FileName: "a.wav", Owner: "alice", Source: sealed})
	var places source.Allowed
	must(h.t, places.UnmarshalText([]byte(allowed)))
	const most = 1 << 20
	remote := upload.NewRemote(upload.RemoteDependencies{
		Jobs: faultyJobs{h.f, h.jobs}, Progress: faultyProgress{h.f, h.bus}, Objects: faultyRemote{h.bucket, h.f}, Sources: sealer,
		Fetcher: fetch.New(fetch.Options{Allowed: places, MaxBytes: most, Idle: time.Minute, Tries: 1}),
	}, upload.RemoteOptions{Allowed: places, MaxBytes: most, Timeout: time.Minute, OfOwner: 1})
	h.handle("received", func(int) error { return remote.Handle(h.Context(), h.job) })
	h.ends(names...)
}

func fetched(h *history) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(h.recording) }))
	defer server.Close()
	h.fetch(server.URL, "127.0.0.1:*", event.NameReceived, event.NameStored)
}

func notFound(h *history) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	h.fetch(server.URL, "127.0.0.1:*", event.NameReceived, event.NameFailed)
}

func copiedFrom(h *history) {
	h.put(h.name, "in/a.wav")
	h.fetch("s3://"+h.name+"/in/a.wav", "s3://"+h.name+"/in/", event.NameReceived, event.NameStored)
}

func (h *history) eraser() *upload.Eraser {
	return upload.NewEraser(upload.EraserDependencies{
		Objects: faultyObjects{h.bucket, h.f}, Staging: faultyStaging{h.f, h.staging}, Jobs: faultyJobs{h.f, h.jobs},
		DeadLetters: faultyLetters{h.f, deadletter.New(h.bus)}, Consumers: faultyConsumers{h.f, h.bus},
		UploadConsumer: "uploader-received", FetchConsumer: "uploader-fetch",
	})
}

func erasedJob(h *history) {
	must(h.t, h.bus.Ensure(h.Context(), event.Dead()))
	e := h.inBucket("")
	h.job = e.JobID
	h.append(event.Stored{JobID: e.JobID, Key: e.Key})
	h.stage(e.JobID)
	erased := event.Erased{JobID: e.JobID, Staged: []string{e.JobID}}
	h.append(erased)
	log, err := h.jobs.Read(h.Context(), e.JobID)
	must(h.t, err)
	eraser := h.eraser()
	h.handle("erased", func(int) error { return eraser.HandleErased(h.Context(), erased, log.Seq()) })
	if names := h.EventNames(h.bus, e.JobID); !slices.Equal(names, []event.Name{event.NameErased}) {
		h.t.Errorf("log %v", names)
	}
}

func expired(h *history) {
	e := h.inBucket("")
	h.job = e.JobID
	h.append(event.Stored{JobID: e.JobID, Key: e.Key})
	expired := event.Expired{JobID: e.JobID}
	h.append(expired)
	eraser := h.eraser()
	h.handle("expired", func(int) error { return eraser.HandleExpired(h.Context(), expired) })
}

func swept(h *history) {
	h.job = h.NewJob()
	h.stage(h.job)
	sweeper := upload.NewSweeper(upload.SweeperDependencies{
		Jobs: faultyJobs{h.f, h.jobs}, Staging: faultyStaging{h.f, h.staging}, Log: zerolog.Nop(),
	}, upload.SweeperOptions{MinAge: time.Hour})
	h.handle("sweep", func(int) error {
		_, err := sweeper.Sweep(h.Context(), time.Now().Add(2*time.Hour))
		return err
	})
}
