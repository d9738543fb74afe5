package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/services/dispatcher/internal/cache"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func TestTheSameRecordingIsAnalysedOnce(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	first := env.appendUpload()
	env.report(first, `{"analysis_results":[1,NaN]}`)
	for range 3 {
		again := env.appendUpload()
		env.isCached(again, first, "[1,null]")
		if c := testkit.Await[event.Completed](env.Kit, env.bus, again); len(c.Warnings) != 1 || c.Warnings[0] != event.WarningNonFinite {
			t.Errorf("the warnings are %v", c.Warnings)
		}
	}
	env.nothingShared()
	for name, want := range map[string]string{"hits": "3", "misses": "1", "shared": "0"} {
		if got := env.metric("sori_result_cache_" + name + "_total"); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	testkit.Eventually(t, func() error {
		if size := env.metric("sori_result_cache_bytes"); size == "0" {
			return fmt.Errorf("the cache has %s bytes", size)
		}
		return nil
	})
	env.handleAgain("dispatcher-stored", "dispatcher-completed")
	if n := len(env.analyzer.all()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestWhateverDeterminesTheResultIsPartOfTheKey(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.put("ref/7.TextGrid", "grid")
	env.run(cached(map[string]string{"REFERENCE_PREFIXES": "s3://" + env.bucket + "/ref/,https://elsewhere.example/"}))
	references := func(_ *event.Received, s *event.Stored) {
		s.TextGridURL, s.PitchURL = "s3://"+env.bucket+"/ref/7.TextGrid", "https://elsewhere.example/7.json"
	}
	plain, first := env.analysed(result), env.analysed(result, references)
	env.isCached(env.appendUpload(), plain, result)
	env.isCached(env.appendUpload(references), first, result)
	for name, change := range map[string]func(*event.Received, *event.Stored){
		"another byte":            func(_ *event.Received, s *event.Stored) { s.SHA256 = strings.Replace(sum, "9", "8", 1) },
		"another token":           func(_ *event.Received, s *event.Stored) { s.TokenID = 8 },
		"another owner":           func(r *event.Received, _ *event.Stored) { r.Owner = "bob" },
		"no owner":                func(r *event.Received, _ *event.Stored) { r.Owner = "" },
		"a reference elsewhere":   func(_ *event.Received, s *event.Stored) { s.PitchURL = "https://elsewhere.example/8.json" },
		"references interchanged": func(_ *event.Received, s *event.Stored) { s.TextGridURL, s.PitchURL = s.PitchURL, s.TextGridURL },
	} {
		job := env.appendUpload(references, change)
		env.report(job, `{"analysis_results":{}}`)
		if c := testkit.Await[event.Completed](env.Kit, env.bus, job); c.Cached {
			t.Errorf("%s: %+v", name, c)
		}
	}
	env.put("ref/7.TextGrid", "another grid")
	replaced := env.analysed(`{"score":2}`, references)
	env.isCached(env.appendUpload(references), replaced, `{"score":2}`)
	must(t, env.service.Stop())
	env.run(cached(map[string]string{"ANALYSIS_VERSION": "2"}))
	newer := env.analysed(`{"score":3}`)
	env.isCached(env.appendUpload(), newer, `{"score":3}`)
	if n := len(env.analyzer.all()); n != 10 {
		t.Errorf("%d requests", n)
	}
}

func TestAResultIsNotCachedIfTheVersionOfAReferenceIsNotKnown(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	missing := func(_ *event.Received, s *event.Stored) { s.PitchURL = "s3://" + env.bucket + "/ref/missing.json" }
	for range 2 {
		job := env.analysed(result, missing)
		if c := testkit.Await[event.Completed](env.Kit, env.bus, job); c.Cached {
			t.Errorf("%+v", c)
		}
	}
	if stored := env.Messages(event.Results()); len(stored) != 0 {
		t.Errorf("stored %s", stored[0].Subject)
	}
}

func TestANewAnalysisRenewsTheCachedResult(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	first := env.analysed(`{"score":1}`)
	renewed := env.analysed(`{"score":2}`, fresh)
	env.isCached(env.appendUpload(), renewed, `{"score":2}`)
	env.append(event.Erased{JobID: first}) // its result is not in the cache: the renewed result replaced it
	env.Settled("dispatcher-erased")
	env.isCached(env.appendUpload(), renewed, `{"score":2}`)

	failed := env.appendUpload(fresh)
	env.report(failed, `{"status":"failed","error":"no speech"}`)
	testkit.Await[event.Failed](env.Kit, env.bus, failed)
	env.isCached(env.appendUpload(), renewed, `{"score":2}`) // the failure of another job leaves the cached result unchanged
	env.append(event.Retried{JobID: failed, Attempt: 2})
	retry := env.attempt(failed, 2)
	if got := env.call(retry.field("webhook_url"), `{"analysis_results":{"score":3}}`); got.code != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	testkit.Await[event.Completed](env.Kit, env.bus, failed)
	env.isCached(env.appendUpload(), failed, `{"score":3}`)
	if stored := env.Messages(event.Results()); len(stored) != 1 {
		t.Errorf("%d results are stored", len(stored))
	}
}

func TestAFreshAnalysisNeitherFollowsNorIsFollowed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	freshFirst := env.appendUpload(fresh)
	env.requested(freshFirst)
	leader := env.appendUpload()
	env.requested(leader)
	freshNext := env.appendUpload(fresh)
	env.requested(freshNext)
	follower := env.appendUpload()
	env.awaitFollowers(follower)
	env.report(freshNext, `{"analysis_results":{"score":2}}`)
	env.report(freshFirst, `{"analysis_results":{"score":3}}`)
	env.report(leader, `{"analysis_results":{"score":4}}`)
	env.isCached(follower, leader, `{"score":4}`)
	env.nothingShared()
}

func TestTheResultOfAnErasedJobIsRemoved(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	first := env.analysed(result)
	env.append(event.Erased{JobID: first, Owner: "alice"})
	env.Settled("dispatcher-erased")
	if stored := env.Messages(event.Results()); len(stored) != 0 {
		t.Errorf("stored %s", stored[0].Subject)
	}
	second := env.analysed(`{"score":2}`)
	env.isCached(env.appendUpload(), second, `{"score":2}`)
}

func TestAResultStaysInTheCacheWhenTheRecordingOfItsJobExpires(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	first := env.analysed(result)
	env.append(event.Expired{JobID: first})
	env.isCached(env.appendUpload(), first, result)
}

// The event `received` of a job cannot be decoded, for example because a newer release published
// it. The job must be analysed all the same.
func TestAJobWhoseFirstEventIsUnreadableIsAnalysed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	job := env.NewJob()
	_, err := env.JetStream().Publish(env.Context(), env.Namespace().Subject(event.SubjectOf(job, event.NameReceived)), []byte("\xff"))
	must(t, err)
	env.append(event.Stored{JobID: job, TokenID: 7, Bucket: env.bucket, Key: "audio/" + job, MediaType: "audio/wav", Size: 1, SHA256: sum})
	env.requested(job)
}

func TestACachedResultExpires(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(map[string]string{"RESULT_CACHE_TTL": "1s"})
	env.analysed(result)
	testkit.Eventually(t, func() error {
		info, err := env.bus.Stream(event.Results()).Info(env.Context())
		if err == nil && info.Messages > 0 {
			err = fmt.Errorf("%d messages", info.Messages)
		}
		return err
	})
	env.analysed(`{"score":2}`)
	if n := len(env.analyzer.all()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestALargeResultIsCached(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	large := incompressible(env)
	first, followers := env.shared(1)
	follower := followers[0]
	env.report(first, `{"analysis_results":`+large+`}`)
	env.isCached(follower, first, large)
	if n := len(env.Messages(event.Results())); n < 2 {
		t.Fatalf("the result is in %d chunks", n)
	}
	env.isCached(env.appendUpload(), first, large)
	entry := testkit.Await[event.Completed](env.Kit, env.bus, follower).ResultEntry
	if job, _, ok := event.ParseEntry(entry); !ok || job != follower {
		t.Errorf("the result is staged as %q", entry)
	}
}

// incompressible returns a result that needs several chunks even if it is compressed.
func incompressible(env *env) string {
	var b strings.Builder
	state := uint64(1)
	for b.Len() < int(env.bus.MaxPayload()) {
		state = state*6364136223846793005 + 1442695040888963407
		fmt.Fprintf(&b, "%d,", state)
	}
	return "[" + b.String() + "0]"
}

func TestAnIncompleteOrDamagedResultIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(env *env, messages []uint64){
		"without its last chunk": func(env *env, m []uint64) { must(t, env.bus.Stream(event.Results()).Delete(env.Context(), m[0])) },
		"without its first chunk": func(env *env, m []uint64) {
			must(t, env.bus.Stream(event.Results()).Delete(env.Context(), m[len(m)-1]))
		},
		"with another chunk": func(env *env, _ []uint64) {
			subject := env.Messages(event.Results())[0].Subject
			ack, err := env.bus.PublishBytes(subject, []byte("another"))
			must(t, err)
			must(t, ack.Wait(env.Context()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			env.run(cached())
			large := incompressible(env)
			env.analysed(large)
			var sequences []uint64
			for _, m := range env.Messages(event.Results()) {
				sequences = append(sequences, m.Sequence)
			}
			damage(env, sequences)
			second := env.analysed(result)
			env.isCached(env.appendUpload(), second, result)
			if n := len(env.analyzer.all()); n != 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestAJobIsCompletedIfItsResultCannotBeCached(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached(map[string]string{"RESULT_CACHE_BYTES": "512"})) // every result is too large for the cache
	large := incompressible(env)
	leader, followers := env.shared(1)
	follower := followers[0]
	env.report(leader, `{"analysis_results":`+large+`}`)
	if env.resultOf(leader) != large {
		t.Error("the result differs")
	}
	env.report(follower, `{"analysis_results":`+large[:20<<10]+`0]}`) // the leader's result is not reusable: a new analysis
	next, waiting := env.shared(1)
	last := waiting[0]
	medium := large[:10<<10] + "0]"
	env.report(next, `{"analysis_results":`+medium+`}`)
	env.isCached(last, next, medium) // the follower gets the result from the leader's completed event
}

func TestAJobIsAnalysedWithoutTheStreamsOfTheCache(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	env.analysed(result)
	env.Settled("dispatcher-completed")
	for _, s := range []event.Stream{event.Results(), event.Shared()} {
		must(t, env.JetStream().DeleteStream(env.Context(), env.Namespace().Stream(s.Name)))
		job := env.analysed(result)
		if c := testkit.Await[event.Completed](env.Kit, env.bus, job); c.Cached {
			t.Errorf("%s is deleted, and the job is %+v", s.Name, c)
		}
	}
}

func TestAResultWhoseJobIsNotCompletedIsNotUsed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	results, err := cache.NewResults(env.bus)
	must(t, err)
	source := env.analysed(result)
	key := analysis.ResultKey{Token: 7, Hash: testkit.Await[event.Attempted](env.Kit, env.bus, source).ResultKey}
	canceled, erased, unknown := env.appendUpload(fresh), env.appendUpload(fresh), env.NewJob()
	env.append(event.Canceled{JobID: canceled})
	env.append(event.Erased{JobID: erased})
	env.Settled("dispatcher-erased")
	// The cache has an entry of each of these jobs, as if its process had died between caching the
	// result and completing the job. None of the entries may be used.
	for _, job := range []string{canceled, erased, unknown} {
		_, err := results.Put(env.Context(), key, analysis.CachedResult{Job: job, Result: []byte(`{"of":"nobody"}`)})
		must(t, err)
		env.analysed(`{"score":2}`)
		env.append(event.Erased{JobID: env.analyzer.all()[len(env.analyzer.all())-1].field("job_id")})
		env.Settled("dispatcher-erased")
	}
}

func TestResultsOfCallbacksAtTheSameTimeAreNotMixedUp(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	for i := range 5 {
		owner := func(r *event.Received, _ *event.Stored) { r.Owner = fmt.Sprint("owner ", i) }
		job := env.appendUpload(owner)
		hook := env.requested(job)
		done := make(chan error, 8)
		for n := range cap(done) {
			go func() {
				_, err := env.post(hook, fmt.Sprintf(`{"analysis_results":{"n":%d}}`, n))
				done <- err
			}()
		}
		for range cap(done) {
			must(t, <-done)
		}
		won := env.resultOf(job)
		env.isCached(env.appendUpload(owner), job, won)
	}
}
