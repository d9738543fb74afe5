package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"sori.internal/services/uploader/internal/fetch"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/principal"
	"sori.internal/shared/source"
	"sori.internal/shared/testkit"
)

const fetches = "uploader-fetch"

// secret is part of each source's URL and headers. It must never be logged or stored.
const secret = "s3cret"

// loopback is the setting FETCH_ALLOWED for servers of the tests.
const loopback = "127.0.0.1:*"

// runFetching starts the service with a setting that allows the servers of the tests.
func (env *env) runFetching(changes map[string]string) *testkit.Instance {
	env.t.Helper()
	all := map[string]string{"FETCH_ALLOWED": loopback}
	for name, value := range changes {
		all[name] = value
	}
	return env.run(all)
}

func (env *env) sealer() *source.Sealer {
	env.t.Helper()
	var cfg principal.Config
	env.Load(&cfg)
	s, err := source.NewSealer(cfg.Secret.Reveal())
	must(env.t, err)
	return s
}

// analyze appends the event `received` with a source, as the gateway does.
func (env *env) analyze(src source.Source) event.Received {
	env.t.Helper()
	return env.analyzeAs("alice", src)
}

func (env *env) analyzeAs(owner string, src source.Source) event.Received {
	env.t.Helper()
	e := event.Received{JobID: env.NewJob(), TokenID: 7, PitchURL: "s3://ref/7.json", FileName: "take 1.wav", Owner: owner}
	var err error
	e.Source, err = env.sealer().Seal(e.JobID, src)
	must(env.t, err)
	env.accept(e)
	return e
}

// analyzeURL appends the event `received` with a URL that contains the secret.
func (env *env) analyzeURL(url string) event.Received {
	env.t.Helper()
	return env.analyze(source.Source{URL: url + "?signature=" + secret, Header: map[string]string{"Authorization": "Bearer " + secret}})
}

// serve serves recordings.
func (env *env) serve(h http.HandlerFunc) string {
	env.t.Helper()
	s := httptest.NewServer(h)
	env.t.Cleanup(s.CloseClientConnections)
	env.t.Cleanup(s.Close)
	return s.URL
}

// serveBody serves one recording.
func (env *env) serveBody(body []byte) string {
	env.t.Helper()
	return env.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})
}

// fetching returns the fetching events of a job.
func (env *env) fetching(job string) []event.Fetching {
	env.t.Helper()
	var all []event.Fetching
	for _, m := range env.Messages(event.Jobs()) {
		if m.Subject == event.Subject(event.Fetching{JobID: job}) {
			var f event.Fetching
			must(env.t, json.Unmarshal(m.Data, &f))
			all = append(all, f)
		}
	}
	return all
}

// checkSecret checks that the secret is in no log line and in no message.
func (env *env) checkSecret() {
	env.t.Helper()
	if strings.Contains(env.Logged(), secret) {
		env.t.Error("the secret is logged")
	}
	for _, s := range []event.Stream{event.Jobs(), event.Dead()} {
		for _, m := range env.Messages(s) {
			if bytes.Contains(m.Data, []byte(secret)) || strings.Contains(fmt.Sprint(m.Header), secret) {
				env.t.Errorf("%s has the secret", m.Subject)
			}
		}
	}
}

// checkUnfinished checks that the bucket has no unfinished multipart uploads.
func (env *env) checkUnfinished() {
	env.t.Helper()
	for o := range env.client.ListIncompleteUploads(env.Context(), env.bucket, "", true) {
		must(env.t, o.Err)
		env.t.Errorf("unfinished: %s", o.Key)
	}
}

// checkStored checks that the event `stored` describes the fetched body, and that the object has
// this body.
func (env *env) checkStored(stored event.Stored, body []byte) {
	env.t.Helper()
	sum := sha256.Sum256(body)
	if stored.Size != int64(len(body)) || stored.SHA256 != hex.EncodeToString(sum[:]) || stored.MediaType != "audio/wav" ||
		stored.Bucket != env.bucket || !strings.HasPrefix(stored.Key, "audio/"+stored.JobID+"_") || !strings.HasSuffix(stored.Key, "_take_1.wav") {
		env.t.Errorf("stored %+v", stored)
	}
	got, info := env.object(stored.Key)
	if !bytes.Equal(got, body) || info.ContentType != "audio/wav" {
		env.t.Errorf("the object has %d bytes of %s", len(got), info.ContentType)
	}
	env.checkUnfinished()
}

// heldServer is a server that sends the last bytes of a recording only when release is called.
// begun receives a value for each request, and left when the client disconnects.
type heldServer struct {
	url         string
	begun, left chan struct{}
	release     func()
}

func (env *env) hold(body []byte) heldServer {
	env.t.Helper()
	released := make(chan struct{})
	h := heldServer{begun: make(chan struct{}, 10), left: make(chan struct{}, 10), release: sync.OnceFunc(func() { close(released) })}
	h.url = env.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)-100])
		w.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
		h.begun <- struct{}{}
		select {
		case <-released:
			_, _ = w.Write(body[len(body)-100:])
		case <-r.Context().Done():
			h.left <- struct{}{}
		}
	})
	return h
}

// wait waits for a value.
func (env *env) wait(c <-chan struct{}) {
	env.t.Helper()
	select {
	case <-c:
	case <-env.Context().Done():
		env.t.Fatal("it does not happen")
	}
}

// remoteUploader returns a RemoteUploader that may fetch from this machine and does not try again.
func (env *env) remoteUploader(bucket upload.RemoteObjects, changes ...func(*upload.RemoteOptions)) *upload.RemoteUploader {
	env.t.Helper()
	var allowed source.Allowed
	must(env.t, allowed.UnmarshalText([]byte(loopback)))
	options := upload.RemoteOptions{Allowed: allowed, MaxBytes: 1 << 20, Timeout: time.Minute}
	for _, change := range changes {
		change(&options)
	}
	return upload.NewRemote(upload.RemoteDependencies{
		Jobs: env.jobs, Progress: env.bus, Objects: bucket, Sources: env.sealer(),
		Fetcher: fetch.New(fetch.Options{Allowed: allowed, MaxBytes: 1 << 20, Idle: time.Minute, Tries: 1}),
	}, options)
}
