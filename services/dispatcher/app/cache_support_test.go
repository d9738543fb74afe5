package app_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"

	"sori.internal/services/dispatcher/internal/cache"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

const (
	sum    = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" // the SHA-256 of the recording that most tests upload
	result = `{"score":1}`
)

// cached returns settings that enable the result cache, and the given further settings.
func cached(further ...map[string]string) map[string]string {
	settings := map[string]string{"RESULT_CACHE_TTL": "1h"}
	for _, m := range further {
		maps.Copy(settings, m)
	}
	return settings
}

// appendUpload appends the events of an upload by alice, always of the same recording, and returns
// the job. The functions change the events first. The recording is not in the bucket, since the
// stub of the analysis server does not read it.
func (env *env) appendUpload(changes ...func(*event.Received, *event.Stored)) string {
	env.t.Helper()
	job := env.NewJob()
	r := event.Received{JobID: job, TokenID: 7, Owner: "alice", SHA256: sum}
	s := event.Stored{JobID: job, TokenID: 7, Bucket: env.bucket, Key: "audio/" + job, MediaType: "audio/wav", Size: 1, SHA256: sum}
	for _, change := range changes {
		change(&r, &s)
	}
	env.append(r)
	env.append(s)
	return job
}

func fresh(r *event.Received, _ *event.Stored) { r.Fresh = true }

// analysed uploads the recording of env.appendUpload, calls back with the given result, and returns
// the completed job.
func (env *env) analysed(result string, changes ...func(*event.Received, *event.Stored)) string {
	env.t.Helper()
	job := env.appendUpload(changes...)
	env.report(job, `{"analysis_results":`+result+`}`)
	testkit.Await[event.Completed](env.Kit, env.bus, job)
	return job
}

// requested waits until the analysis server has accepted a job, and returns its callback URL.
func (env *env) requested(job string) string {
	env.t.Helper()
	testkit.Await[event.Dispatched](env.Kit, env.bus, job)
	return env.analyzer.requestsOf(job)[0].field("webhook_url")
}

// report waits until the analysis server has accepted a job, and calls back with the given body.
func (env *env) report(job, body string) {
	env.t.Helper()
	if got := env.call(env.requested(job), body); got.code != http.StatusOK {
		env.t.Fatalf("%+v", got)
	}
}

// isCached waits until a job is completed, and checks that its result was copied from the given
// source job and that no analysis of the job was requested.
func (env *env) isCached(job, source, result string) {
	env.t.Helper()
	if got := env.resultOf(job); got != result {
		env.t.Errorf("the result of %s is %.60s, want %.60s", job, got, result)
	}
	c := testkit.Await[event.Completed](env.Kit, env.bus, job)
	if !c.Cached || c.CachedFrom != source || c.Attempt != 0 || len(env.analyzer.requestsOf(job)) != 0 {
		env.t.Errorf("completed %+v, want the result of %s; %d requests", c, source, len(env.analyzer.requestsOf(job)))
	}
}

// awaitFollowers waits until each of the jobs waits for the analysis of another job with the same
// recording, and is stored as its follower.
func (env *env) awaitFollowers(jobs ...string) {
	env.t.Helper()
	for _, job := range jobs {
		testkit.Eventually(env.t, func() error {
			waits := env.waitingEvents(job)
			if len(waits) == 0 || waits[len(waits)-1].Code != event.CodeSameRecording {
				return fmt.Errorf("job %s does not wait: %+v", job, waits)
			}
			m, err := env.bus.Stream(event.Shared()).LastFromLeader(env.Context(), event.FollowerSubject("*", job))
			if err == nil && m == nil {
				err = errors.New("job " + job + " does not follow")
			}
			return err
		})
	}
}

// nothingShared waits until the stream of jobs that share an analysis is empty.
func (env *env) nothingShared() {
	env.t.Helper()
	testkit.Eventually(env.t, func() error {
		info, err := env.bus.Stream(event.Shared()).Info(env.Context())
		if err == nil && info.Messages > 0 {
			err = fmt.Errorf("%d jobs share an analysis", info.Messages)
		}
		return err
	})
}

func (env *env) sharing() *cache.Sharing { return cache.NewSharing(env.bus) }

// shared uploads one recording n+1 times (env.appendUpload). It returns when the analysis of the
// first job, the leader, is running and all other jobs follow the leader.
func (env *env) shared(n int, changes ...func(*event.Received, *event.Stored)) (leader string, followers []string) {
	env.t.Helper()
	leader = env.appendUpload(changes...)
	env.requested(leader)
	for range n {
		followers = append(followers, env.appendUpload(changes...))
		env.awaitFollowers(followers[len(followers)-1])
	}
	return leader, followers
}
