package app_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/shared/event"
	"sori.internal/shared/source"
	"sori.internal/shared/testkit"
)

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
		"large digest": {func(env *env) source.Source { // the file is larger than a part: the digest is known only after a part was stored
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
				w.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
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
			h := env.hold(wav(6 << 20)) // more than a part, so one part is stored when the job ends
			env.runFetching(nil)
			e := env.analyzeURL(h.url)
			env.wait(h.begun)
			began := time.Now()
			end(env, e)
			env.wait(h.left)
			if took := time.Since(began); took > 30*time.Second { // much sooner than the time limit of the fetch
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
	env.put("audio/"+e.JobID+"_OLD_take_1.wav", wav(100)) // the object of a replica that died before it appended the event stored
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
