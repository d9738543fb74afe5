package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/services/dispatcher/internal/cache"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func TestUploadsOfTheSameRecordingAtTheSameTimeShareOneAnalysis(t *testing.T) {
	t.Parallel()
	const uploads = 100
	env := newEnv(t)
	server := newLine(env)
	settings := cached(limited(1), map[string]string{"ANALYSIS_CONCURRENCY": "4"}) // too few slots and handlers if followers occupied them
	env.run(settings)
	env.run(settings)
	jobs := make([]string, uploads)
	for i := range jobs {
		jobs[i] = env.appendUpload()
	}
	leader := server.awaitStarts(1)[0]
	followers := slices.DeleteFunc(slices.Clone(jobs), func(job string) bool { return job == leader })
	env.awaitFollowers(followers...)
	testkit.Eventually(t, func() error {
		state, _, err := env.bus.ConsumerState(env.Context(), "dispatcher-stored")
		if err == nil && (state.AckPending != 1 || state.Pending != 0) {
			err = fmt.Errorf("%d events are not settled and %d are pending", state.AckPending, state.Pending)
		}
		return err
	})
	env.queued(0)
	server.finish(leader)
	for _, job := range followers {
		env.isCached(job, leader, "{}")
	}
	env.nothingShared()
	if n := len(env.analyzer.all()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestIfTheAnalysisFailsTheNextJobIsAnalysed(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(env *env, leader string){
		"failed":   func(env *env, leader string) { env.report(leader, `{"status":"failed","error":"no speech"}`) },
		"canceled": func(env *env, leader string) { env.append(event.Canceled{JobID: leader}) },
		"erased":   func(env *env, leader string) { env.append(event.Erased{JobID: leader}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			env.run(cached())
			leader, jobs := env.shared(5)
			env.append(event.Canceled{JobID: jobs[0]}) // the canceled and the erased follower must not be promoted
			env.append(event.Erased{JobID: jobs[1]})
			end(env, leader)
			env.requested(jobs[2])
			end(env, jobs[2])
			env.report(jobs[3], `{"analysis_results":`+result+`}`)
			env.isCached(jobs[4], jobs[3], result)
			env.isCached(env.appendUpload(), jobs[3], result)
			env.nothingShared()
			if n := len(env.analyzer.all()); n != 3 {
				t.Errorf("%d requests", n)
			}
			for _, job := range jobs[:2] {
				if requests := env.analyzer.requestsOf(job); len(requests) > 0 {
					t.Errorf("job %s, which has ended, was requested", job)
				}
			}
			env.handleAgain("dispatcher-stored", "dispatcher-granted", "dispatcher-completed", "dispatcher-failed", "dispatcher-canceled", "dispatcher-erased")
		})
	}
}

func TestAFailedLeaderThatIsRetriedAtOnceLosesNoFollower(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	for i := range 5 {
		owner := func(r *event.Received, _ *event.Stored) { r.Owner = fmt.Sprint("owner ", i) }
		leader, followers := env.shared(1, owner)
		follower := followers[0]
		env.report(leader, `{"status":"failed","error":"no speech"}`)
		env.append(event.Retried{JobID: leader, Attempt: 2})
		second := env.attempt(leader, 2)
		if got := env.call(second.field("webhook_url"), `{"analysis_results":{}}`); got.code != http.StatusOK {
			t.Fatalf("%+v", got)
		}
		testkit.Eventually(t, func() error { // the follower was promoted, or gets the result of the retry
			for _, r := range env.analyzer.requestsOf(follower) {
				if _, err := env.post(r.field("webhook_url"), `{"analysis_results":{}}`); err != nil {
					return err
				}
			}
			if names := env.EventNames(env.bus, follower); names[len(names)-1] != event.NameCompleted {
				return fmt.Errorf("the follower has %v", names)
			}
			return nil
		})
	}
	env.nothingShared()
}

// When the job that leads a shared analysis ends, a replica handles this in several steps, and may die
// after any of them. Another replica, or the restarted one, must complete the missing steps.
func TestJobsThatShareAnAnalysisSurviveTheDeathOfAReplica(t *testing.T) {
	t.Parallel()
	type world struct {
		*env

		shared   *cache.Sharing
		key      analysis.ResultKey
		leader   string   // has failed
		waiting  []string // followed it
		position uint64   // sequence of the leader's entry
	}
	member := func(w *world, job string) analysis.Member { return analysis.Member{Key: w.key, Job: job} }
	promoted := func(w *world, job string) *analysis.Member {
		m := member(w, job)
		m.Promoted = true
		lead, err := w.shared.Lead(w.Context(), m, w.position)
		must(w.t, err)
		return lead
	}
	for name, died := range map[string]func(w *world){
		"before the end of the leader was handled": func(*world) {},
		"after it had promoted a follower":         func(w *world) { promoted(w, w.waiting[0]) },
		"after it had published granted": func(w *world) {
			must(w.t, w.shared.Grant(w.Context(), promoted(w, w.waiting[0])))
		},
		"after it had removed the leader": func(w *world) {
			must(w.t, w.shared.Grant(w.Context(), promoted(w, w.waiting[0])))
			must(w.t, w.shared.Remove(w.Context(), &analysis.Member{Seq: w.position}))
		},
		"after it had promoted a follower that was canceled": func(w *world) {
			must(w.t, w.shared.Grant(w.Context(), promoted(w, w.waiting[0])))
			w.append(event.Canceled{JobID: w.waiting[0]})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			env.run(cached())
			w := &world{env: env, shared: env.sharing(), leader: env.appendUpload()}
			env.requested(w.leader)
			for range 2 {
				w.waiting = append(w.waiting, env.appendUpload())
				env.awaitFollowers(w.waiting[len(w.waiting)-1])
			}
			env.Settled("dispatcher-stored")
			must(t, env.service.Stop())
			leads, err := w.shared.LedBy(env.Context(), w.leader)
			must(t, err)
			w.key, w.position = leads.Key, leads.Seq
			env.append(event.Failed{JobID: w.leader, Attempt: 1, Code: "analysis-failed"})
			died(w)

			env.run(cached())
			next := w.waiting[0]
			if names := env.EventNames(env.bus, next); names[len(names)-1] == event.NameCanceled {
				next = w.waiting[1]
			}
			env.report(next, `{"analysis_results":`+result+`}`)
			if next != w.waiting[1] {
				env.isCached(w.waiting[1], next, result)
			}
			env.nothingShared()
			for job, want := range map[string]int{w.leader: 1, next: 1} {
				if n := len(env.analyzer.requestsOf(job)); n != want {
					t.Errorf("%d requests of %s, want %d", n, job, want)
				}
			}
		})
	}
}

func TestAFollowerWithoutALeaderIsAnalysed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	leader, followers := env.shared(1)
	follower := followers[0]
	must(t, env.service.Stop())
	m, err := env.sharing().LedBy(env.Context(), leader)
	must(t, err)
	must(t, env.sharing().Remove(env.Context(), m))
	env.run(cached()) // a starting process reviews all jobs that share an analysis, and finds the follower without a leader
	env.report(follower, `{"analysis_results":`+result+`}`)
	env.nothingShared()
}

func TestALeaderWithoutAnAttemptIsRequestedAfterACrash(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	first := env.analysed(result)
	key := testkit.Await[event.Attempted](env.Kit, env.bus, first).ResultKey
	env.append(event.Erased{JobID: first})
	env.Settled("dispatcher-erased")
	must(t, env.service.Stop())
	job := env.appendUpload()
	lead, err := env.sharing().Lead(env.Context(), analysis.Member{Key: analysis.ResultKey{Token: 7, Hash: key}, Job: job}, 0)
	if err != nil || lead == nil {
		t.Fatalf("%+v %v", lead, err)
	}
	env.run(cached())
	env.report(job, `{"analysis_results":`+result+`}`)
	env.nothingShared()
}

func TestFollowersOfACompletedLeaderAreCompletedAfterACrash(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	leader, jobs := env.shared(3)
	env.Settled("dispatcher-stored")
	must(t, env.service.Stop())
	// The state after a crash: the result is cached, and only the leader and one of the followers
	// are completed.
	results, err := cache.NewResults(env.bus)
	must(t, err)
	attempted := testkit.Await[event.Attempted](env.Kit, env.bus, leader)
	_, err = results.Put(env.Context(), analysis.ResultKey{Token: 7, Hash: attempted.ResultKey}, analysis.CachedResult{Job: leader, Result: []byte(result)})
	must(t, err)
	env.append(event.Completed{JobID: leader, Attempt: 1, Result: []byte(result)})
	env.append(event.Completed{JobID: jobs[0], Result: []byte(result), Cached: true, CachedFrom: leader})
	env.append(event.Canceled{JobID: jobs[1]})
	env.run(cached())
	env.isCached(jobs[2], leader, result)
	env.nothingShared()
	want := []event.Name{event.NameReceived, event.NameStored, event.NameCanceled}
	if names := env.EventNames(env.bus, jobs[1]); !slices.Equal(names, want) {
		t.Errorf("the canceled job has %v", names)
	}
}

func TestFollowersOfACachedLeaderAreAnalysedIfTheSourceIsErased(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	leader, followers := env.shared(1)
	follower := followers[0]
	env.Settled("dispatcher-stored")
	must(t, env.service.Stop())
	source := env.NewJob()
	env.append(event.Erased{JobID: source})
	env.append(event.Completed{JobID: leader, Result: []byte(result), Cached: true, CachedFrom: source})
	env.run(cached())
	env.requested(follower)
	env.report(follower, `{"analysis_results":`+result+`}`)
	if c := testkit.Await[event.Completed](env.Kit, env.bus, follower); c.Cached {
		t.Errorf("%+v", c)
	}
	env.nothingShared()
}

func TestTheStopOfTheLeadersReplicaLosesNoFollower(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	server := newLine(env)
	settings := cached(map[string]string{"SHUTDOWN_GRACE": "1ms"})
	victim := env.run(settings)
	leader := env.appendUpload()
	server.awaitStarts(1)
	env.run(settings)
	followers := []string{env.appendUpload(), env.appendUpload(), env.appendUpload()}
	env.awaitFollowers(followers...)
	must(t, victim.Stop()) // aborts the request
	server.awaitStarts(2)
	server.finish(leader)
	for _, job := range followers {
		env.isCached(job, leader, "{}")
	}
	env.nothingShared()
}

func TestWithoutTheCacheThoseWhoWaitAreAnalysed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached())
	leader, followers := env.shared(2)
	must(t, env.service.Stop())
	env.run(map[string]string{"RESULT_CACHE_TTL": "0"})
	for _, job := range append(followers, env.appendUpload(), leader) {
		env.report(job, `{"analysis_results":`+result+`}`)
		if c := testkit.Await[event.Completed](env.Kit, env.bus, job); c.Cached {
			t.Errorf("%+v", c)
		}
	}
	env.nothingShared()
}
