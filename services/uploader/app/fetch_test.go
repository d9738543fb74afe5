package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/uploader/app"
	"sori.internal/services/uploader/internal/fetch"
	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/principal"
	"sori.internal/shared/source"
	"sori.internal/shared/testkit"
)

const fetches = "uploader-fetch"

// secret is part of every URL and of every header that the tests fetch with.
const secret = "s3cret"

// loopback allows the servers of the tests.
const loopback = "127.0.0.1:*"

// runFetching starts the service, which may reach the servers of the tests.
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

// analyze appends received with a source, as the gateway does.
func (env *env) analyze(src source.Source) event.Received {
	env.t.Helper()
	e := event.Received{JobID: env.NewJob(), TokenID: 7, PitchURL: "s3://ref/7.json", FileName: "take 1.wav", Owner: "alice"}
	var err error
	e.Source, err = env.sealer().Seal(e.JobID, src)
	must(env.t, err)
	env.accept(e)
	return e
}

// analyzeURL appends received with a URL that contains the secret.
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

// fetching returns the progress of the fetch of a job.
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

// checkSecret checks that no log and no message has the secret.
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

// checkUnfinished checks that the bucket has no parts of unfinished uploads.
func (env *env) checkUnfinished() {
	env.t.Helper()
	for o := range env.client.ListIncompleteUploads(env.Context(), env.bucket, "", true) {
		must(env.t, o.Err)
		env.t.Errorf("unfinished: %s", o.Key)
	}
}

// checkStored checks the object of a job that is fetched.
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

func TestARecordingIsFetchedByteForByte(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"one part": 50_044, "many parts": 11 << 20, "exactly one part": 5 << 20} {
		for _, declared := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " declared ", declared), func(t *testing.T) {
				t.Parallel()
				env, body := newEnv(t), wav(size)
				var got http.Header
				e := env.analyzeURL(env.serve(func(w http.ResponseWriter, r *http.Request) {
					got = r.Header.Clone()
					if declared {
						w.Header().Set("Content-Length", strconv.Itoa(len(body)))
					}
					_, _ = w.Write(body)
				}))
				env.runFetching(nil)
				stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
				env.checkStored(stored, body)
				if diff := stored.Duration - float64(size-44)/32000; diff > 0.001 || diff < -0.001 || stored.PitchURL != e.PitchURL || stored.TokenID != 7 {
					t.Errorf("stored %+v", stored)
				}
				if got.Get("Authorization") != "Bearer "+secret {
					t.Errorf("the server got %v", got)
				}
				env.Settled(fetches)
				env.Settled(consumer)
				env.checkKeys(stored.Key)
				env.nothingStaged()
				env.checkSecret()
				if all := env.fetching(e.JobID); len(all) == 0 || all[0].Bytes != 0 || all[0].Try != 1 {
					t.Errorf("progress %+v", all)
				}
			})
		}
	}
}

func TestAFetchThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256(wav(10_044))
	status := func(code int) func(*env) source.Source {
		return func(env *env) source.Source {
			return source.Source{URL: env.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })}
		}
	}
	body := func(b []byte) func(*env) source.Source {
		return func(env *env) source.Source { return source.Source{URL: env.serveBody(b)} }
	}
	for name, c := range map[string]struct {
		source    func(*env) source.Source
		code      string
		detail    string
		retryable bool
	}{
		"404":        {status(404), "fetch-failed", "answered 404", false},
		"403":        {status(403), "fetch-failed", "answered 403", false},
		"500":        {status(500), "fetch-failed", "answered 500", true},
		"not audio":  {body(random(20_000)), "unsupported-audio", "", false},
		"a web page": {body([]byte("<!DOCTYPE html><title>sign in</title>")), "unsupported-audio", "", false},
		"empty":      {body(nil), "empty-file", "", false},
		"too large":  {body(wav(6<<20 + 1)), "fetch-too-large", "", false},
		"private":    {func(*env) source.Source { return source.Source{URL: "http://10.0.0.1/a"} }, "fetch-refused-address", "", false},
		"no host":    {func(*env) source.Source { return source.Source{URL: "http://127.0.0.1:9/a"} }, "fetch-failed", "127.0.0.1", true},
		"no bucket":  {func(*env) source.Source { return source.Source{URL: "s3://other/a.wav"} }, "fetch-refused-address", "", false},
		"digest": {func(env *env) source.Source {
			return source.Source{URL: env.serveBody(wav(10_046)), SHA256: hex.EncodeToString(sum[:])}
		}, "digest-mismatch", "", false},
		"large digest": {func(env *env) source.Source { // after parts are stored
			return source.Source{URL: env.serveBody(wav(5<<20 + 1)), SHA256: hex.EncodeToString(sum[:])}
		}, "digest-mismatch", "", false},
		"without end": {func(env *env) source.Source {
			return source.Source{URL: env.serve(func(w http.ResponseWriter, r *http.Request) {
				for b := wav(1 << 20); r.Context().Err() == nil; {
					_, _ = w.Write(b)
				}
			})}
		}, "fetch-too-large", "", false},
		"slow": {func(env *env) source.Source {
			return source.Source{URL: env.serve(func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write(wav(20_000))
				w.(http.Flusher).Flush() //nolint:forcetypeassert // of net/http
				<-r.Context().Done()
			})}
		}, "fetch-timeout", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			e := env.analyze(c.source(env))
			timeout := "1m"
			if name == "slow" {
				timeout = "1s"
			}
			env.runFetching(map[string]string{"MAX_FETCH_BYTES": strconv.Itoa(6 << 20), "FETCH_TIMEOUT": timeout})
			failed := testkit.Await[event.Failed](env.Kit, env.bus, e.JobID)
			if failed.Code != c.code || failed.Retryable != c.retryable || !strings.Contains(failed.Detail, c.detail) || failed.Detail == "" || failed.Attempt != 0 {
				t.Errorf("failed %+v", failed)
			}
			if known, ok := event.FailureCodeOf(failed.Code); !ok {
				t.Errorf("the code is not listed: %+v", known)
			}
			env.Settled(fetches)
			env.checkKeys()
			env.checkUnfinished()
			if dead := env.Messages(event.Dead()); len(dead) > 0 {
				t.Errorf("dead letters %+v", dead)
			}
		})
	}
}

func TestEachTryThatFailsIsTold(t *testing.T) {
	t.Parallel()
	env, body := newEnv(t), wav(10_044)
	var n atomic.Int64
	e := env.analyzeURL(env.serve(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(body)
	}))
	env.runFetching(nil)
	env.checkStored(testkit.Await[event.Stored](env.Kit, env.bus, e.JobID), body)
	if all := env.fetching(e.JobID); !slices.Contains(all, event.Fetching{JobID: e.JobID, Try: 2, Code: "fetch-failed", Status: 503}) {
		t.Errorf("progress %+v", all)
	}
	env.checkSecret()
}

func TestARecordingWithTheAnnouncedDigestIsStored(t *testing.T) {
	t.Parallel()
	env, body := newEnv(t), wav(10_044)
	sum := sha256.Sum256(body)
	e := env.analyze(source.Source{URL: env.serveBody(body), SHA256: hex.EncodeToString(sum[:])})
	env.runFetching(nil)
	env.checkStored(testkit.Await[event.Stored](env.Kit, env.bus, e.JobID), body)
}

// heldServer serves a recording whose end comes when release is called. begun receives a value for
// each request, left when its client has left.
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
		w.(http.Flusher).Flush() //nolint:forcetypeassert // of net/http
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

func TestAFetchStopsWhenItsJobEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(env *env, e event.Received){
		"canceled": func(env *env, e event.Received) { env.append(event.Canceled{JobID: e.JobID}) },
		"failed":   func(env *env, e event.Received) { env.append(event.Failed{JobID: e.JobID, Code: "dispatch-timeout"}) },
		"erased":   (*env).erase,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			h := env.hold(wav(6 << 20)) // a part is stored already
			env.runFetching(nil)
			e := env.analyzeURL(h.url)
			env.wait(h.begun)
			began := time.Now()
			end(env, e)
			env.wait(h.left)
			if took := time.Since(began); took > 30*time.Second { // not the timeout of the fetch
				t.Errorf("it stopped after %v", took)
			}
			env.Settled(fetches)
			if name == "erased" {
				env.Settled(erasures)
				env.checkPurged(e)
			}
			env.checkKeys()
			env.checkUnfinished()
			env.checkSecret()
		})
	}
}

func TestASlowServerTakesNoPlaceOfAnUpload(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	h := env.hold(wav(100_044))
	env.runFetching(map[string]string{"FETCH_CONCURRENCY": "1", "UPLOAD_CONCURRENCY": "1"})
	slow, waits := env.analyzeURL(h.url), env.analyzeURL(h.url)
	env.wait(h.begun)
	e := env.upload(wav(10_044))
	testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	if len(h.begun) > 0 {
		t.Error("more fetches at once than FETCH_CONCURRENCY")
	}
	h.release()
	for _, e := range []event.Received{slow, waits} {
		env.checkStored(testkit.Await[event.Stored](env.Kit, env.bus, e.JobID), wav(100_044))
	}
}

func TestAFetchThatOutlastsTheGraceIsMadeByAnotherReplica(t *testing.T) {
	t.Parallel()
	env, body := newEnv(t), wav(6<<20)
	h := env.hold(body)
	first := env.runFetching(map[string]string{"SHUTDOWN_GRACE": "100ms"})
	e := env.analyzeURL(h.url)
	env.wait(h.begun)
	waitFor(env.Context(), t, stopAsync(first))
	if names := env.EventNames(env.bus, e.JobID); !slices.Equal(names, []event.Name{event.NameReceived}) {
		t.Errorf("after the stop: %v", names)
	}
	h.release()
	env.runFetching(nil)
	stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	env.checkStored(stored, body)
	env.Settled(fetches)
	env.checkKeys(stored.Key)
}

func TestWhatADeadReplicaHasLeftIsRemoved(t *testing.T) {
	t.Parallel()
	env, body := newEnv(t), wav(10_044)
	e := env.analyzeURL(env.serveBody(body))
	env.put("audio/"+e.JobID+"_OLD_take_1.wav", wav(100)) // it died before it appended stored
	core := minio.Core{Client: env.client}
	_, err := core.NewMultipartUpload(env.Context(), env.bucket, "audio/"+e.JobID+"_DEAD_take_1.wav", minio.PutObjectOptions{})
	must(t, err)
	env.runFetching(nil)
	stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	env.Settled(fetches)
	env.checkKeys(stored.Key)
	env.checkUnfinished()
}

func TestHandlingAFetchAgainChangesNothing(t *testing.T) {
	t.Parallel()
	env, body := newEnv(t), wav(10_044)
	var n atomic.Int64
	e := env.analyzeURL(env.serve(func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		_, _ = w.Write(body)
	}))
	env.runFetching(nil)
	stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	env.Settled(fetches)
	messages := len(env.Messages(event.Jobs()))
	env.HandleAgain(fetches)
	env.HandleAgain(consumer)
	env.checkKeys(stored.Key)
	env.checkStored(stored, body)
	if now := len(env.Messages(event.Jobs())); now != messages || n.Load() != 1 {
		t.Errorf("%d messages became %d, %d requests", messages, now, n.Load())
	}
}

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
	var allowed source.Allowed
	must(t, allowed.UnmarshalText([]byte(loopback)))
	u := upload.NewRemote(upload.RemoteDependencies{
		Jobs: env.jobs, Progress: env.bus, Objects: objects.New(env.client, env.client, env.bucket), Sources: env.sealer(),
		Fetcher: fetch.New(fetch.Options{Allowed: allowed, MaxBytes: 1 << 20, Idle: time.Minute, Tries: 1}),
	}, upload.RemoteOptions{Allowed: allowed, MaxBytes: 1 << 20, Timeout: time.Minute})
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

func TestAFetchThatFailedIsRepeatedByARetry(t *testing.T) {
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
	env.runFetching(nil)
	testkit.Await[event.Failed](env.Kit, env.bus, e.JobID)
	env.append(event.Retried{JobID: e.JobID, Attempt: 1, Fetch: true})
	env.Settled(fetches)
	log, err := env.jobs.Read(env.Context(), e.JobID)
	must(t, err)
	if failed, _ := event.Last[event.Failed](log); failed.Attempt != 1 || log[len(log)-1].Event.Name() != event.NameFailed {
		t.Fatalf("log %+v", log)
	}
	found.Store(true)
	env.append(event.Retried{JobID: e.JobID, Attempt: 2, Fetch: true})
	stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	if stored.Attempt != 2 {
		t.Errorf("%+v", stored)
	}
	env.checkStored(stored, body)
	if all := env.fetching(e.JobID); !slices.ContainsFunc(all, func(f event.Fetching) bool { return f.Attempt == 2 }) {
		t.Errorf("progress %+v", all)
	}
}

func TestASourceOfAnotherSecretFailsItsJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.analyzeURL("http://127.0.0.1:9/a")
	env.runFetching(map[string]string{"PRINCIPAL_SECRET": "another-secret-of-enough-length-01"})
	if failed := testkit.Await[event.Failed](env.Kit, env.bus, e.JobID); failed.Code != "source-unreadable" || failed.Retryable {
		t.Errorf("%+v", failed)
	}
}

// sourceBucket makes a bucket from which recordings may be copied.
func (env *env) sourceBucket() string {
	env.t.Helper()
	name := env.bucket + "-in"
	must(env.t, env.client.MakeBucket(env.Context(), name, minio.MakeBucketOptions{}))
	env.t.Cleanup(func() {
		for o := range env.client.ListObjects(env.Context(), name, minio.ListObjectsOptions{Recursive: true}) {
			_ = env.client.RemoveObject(env.Context(), name, o.Key, minio.RemoveObjectOptions{})
		}
		_ = env.client.RemoveBucket(env.Context(), name)
	})
	return name
}

func TestAnObjectOfAnAllowedBucketIsCopied(t *testing.T) {
	t.Parallel()
	env, body := newEnv(t), wav(6<<20)
	bucket := env.sourceBucket()
	for key, b := range map[string][]byte{"in/a b.wav": body, "in/text": []byte("no sound"), "in/large.wav": wav(7<<20 + 1), "out/a.wav": body} {
		_, err := env.client.PutObject(env.Context(), bucket, key, bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{ContentType: "text/plain"})
		must(t, err)
	}
	env.runFetching(map[string]string{"FETCH_ALLOWED": "s3://" + bucket + "/in/", "MAX_FETCH_BYTES": strconv.Itoa(7 << 20)})
	e := env.analyze(source.Source{URL: "s3://" + bucket + "/in/a b.wav"})
	stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	env.checkStored(stored, body)
	if diff := stored.Duration - float64(len(body)-44)/32000; diff > 0.001 || diff < -0.001 {
		t.Errorf("duration %v", stored.Duration)
	}
	for key, code := range map[string]string{
		"in/missing.wav": "fetch-failed", "in/text": "unsupported-audio", "in/large.wav": "fetch-too-large",
		"out/a.wav": "fetch-refused-address", "in/../out/a.wav": "fetch-refused-address",
	} {
		e := env.analyze(source.Source{URL: "s3://" + bucket + "/" + key})
		if failed := testkit.Await[event.Failed](env.Kit, env.bus, e.JobID); failed.Code != code || failed.Retryable {
			t.Errorf("%s: %+v", key, failed)
		}
	}
	other := env.analyze(source.Source{URL: "s3://" + env.bucket + "/" + stored.Key})
	if failed := testkit.Await[event.Failed](env.Kit, env.bus, other.JobID); failed.Code != "fetch-refused-address" {
		t.Errorf("the recording of another job: %+v", failed)
	}
	env.Settled(fetches)
	env.checkKeys(stored.Key)
}

func TestTheBucketOfRecordingsCannotBeAllowed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	settings := env.Settings(map[string]string{"FETCH_ALLOWED": "s3://" + env.bucket + "/audio/"})
	err := app.Run(env.Context(), lifecycle.Process{Stderr: io.Discard, Lookup: config.Map(settings)})
	if err == nil || !strings.Contains(err.Error(), "FETCH_ALLOWED") {
		t.Error(errors.New("it starts"), err)
	}
}
