package app_test

import (
	"net/http"
	"slices"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// erase appends the event `erased`. If forget is true, it also purges the earlier events.
func (env *env) erase(job string, forget bool) {
	env.t.Helper()
	log, err := env.jobs.Update(env.Context(), job, nil, func(event.Log) (event.Event, error) { return event.Erased{JobID: job}, nil })
	must(env.t, err)
	if forget {
		must(env.t, env.jobs.Purge(env.Context(), job, log.Seq()))
	}
}

func TestNothingThatIsReportedOfAnErasedJobIsKept(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]bool{"before its events are purged": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			env.run(nil)
			job, stale := env.failed()
			env.append(event.Retried{JobID: job, Attempt: 2})
			newest := env.attempt(job, 2).field("webhook_url")
			env.erase(job, forget)
			before := len(env.Messages(event.Jobs()))
			for _, hook := range []string{stale, newest} {
				for _, body := range []string{
					`{"analysis_results":{"a":1}}`, `{"analysis_results":` + large(env) + `}`, `{"status":"failed","error":"late"}`, `{"status":"processing","progress":50}`,
				} {
					if got := env.call(hook, body); got.code != http.StatusOK || got.body["message"] == nil {
						t.Errorf("%.40s: %+v", body, got)
					}
				}
			}
			if now := len(env.Messages(event.Jobs())); now != before {
				t.Errorf("%d messages became %d", before, now)
			}
			if left := env.entries(); len(left) > 0 {
				t.Errorf("staged %v", left)
			}
		})
	}
}

func TestNothingIsRequestedForAnErasedJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	stored, retried, lapsed := env.store(), env.store(), env.store()
	env.append(event.Failed{JobID: retried.JobID, Code: "analysis-failed"})
	env.append(event.Attempted{JobID: lapsed.JobID, Attempt: 1})
	env.append(event.Dispatched{JobID: lapsed.JobID, Attempt: 1})
	for job, last := range map[string]event.Event{
		stored.JobID:  nil,
		retried.JobID: event.Retried{JobID: retried.JobID, Attempt: 1},
		lapsed.JobID:  event.Lapsed{JobID: lapsed.JobID, Attempt: 1},
	} {
		if last != nil {
			env.append(last)
		}
		log, err := env.jobs.Read(env.Context(), job)
		must(t, err)
		env.erase(job, false)
		must(t, env.jobs.Purge(env.Context(), job, log.Seq())) // keep only the event that the dispatcher consumes
	}
	env.run(nil)
	for _, consumer := range []string{"dispatcher-stored", retries, "dispatcher-lapsed"} {
		env.Settled(consumer)
	}
	other := env.store()
	testkit.Await[event.Dispatched](env.Kit, env.bus, other.JobID)
	if requests := env.analyzer.all(); len(requests) != 1 {
		t.Errorf("%d requests", len(requests))
	}
	if dead := env.Messages(event.Dead()); len(dead) > 0 {
		t.Errorf("dead letters %+v", dead)
	}
	if names := env.EventNames(env.bus, retried.JobID); !slices.Equal(names, []event.Name{event.NameRetried, event.NameErased}) {
		t.Errorf("log %v", names)
	}
}
