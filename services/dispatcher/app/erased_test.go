package app_test

import (
	"net/http"
	"slices"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// erase says that a job is erased, and forgets what was said before where it is
// asked to.
func (r *rig) erase(job string, forget bool) {
	r.t.Helper()
	log, err := r.bus.Decide(r.Context(), job, nil, func(event.Log) (event.Event, error) { return event.Erased{JobID: job}, nil })
	must(r.t, err)
	if forget {
		must(r.t, r.bus.Forget(r.Context(), job, log.Seq()))
	}
}

func TestOfAnErasedJobNothingIsKeptThatIsReported(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]bool{"at once": false, "when it is forgotten": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.run(nil)
			job, stale := r.failed()
			r.append(event.Retried{JobID: job, Attempt: 2})
			newest := r.attempt(job, 2).field("webhook_url")
			r.erase(job, forget)
			before := len(r.Letters(event.Jobs()))
			for _, hook := range []string{stale, newest} {
				for _, body := range []string{
					`{"analysis_results":{"a":1}}`, `{"analysis_results":` + large(r) + `}`, `{"status":"failed","error":"late"}`, `{"status":"processing","progress":50}`,
				} {
					if got := r.call(hook, body); got.code != http.StatusOK || got.body["message"] == nil {
						t.Errorf("%.40s: %+v", body, got)
					}
				}
			}
			if now := len(r.Letters(event.Jobs())); now != before {
				t.Errorf("%d messages became %d", before, now)
			}
			if left := r.entries(); len(left) > 0 {
				t.Errorf("staged %v", left)
			}
		})
	}
}

func TestAnErasedJobIsNotAskedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stored, retried, lapsed := r.store(), r.store(), r.store()
	r.append(event.Failed{JobID: retried.JobID, Code: "analysis-failed"})
	r.append(event.Attempted{JobID: lapsed.JobID, Attempt: 1})
	r.append(event.Dispatched{JobID: lapsed.JobID, Attempt: 1})
	for job, last := range map[string]event.Event{
		stored.JobID:  nil,
		retried.JobID: event.Retried{JobID: retried.JobID, Attempt: 1},
		lapsed.JobID:  event.Lapsed{JobID: lapsed.JobID, Attempt: 1},
	} {
		if last != nil {
			r.append(last)
		}
		log, err := r.bus.Log(r.Context(), job)
		must(t, err)
		r.erase(job, false)
		must(t, r.bus.Forget(r.Context(), job, log.Seq())) // all but what the dispatcher hears
	}
	r.run(nil)
	for _, consumer := range []string{"dispatcher-stored", retries, "dispatcher-lapsed"} {
		r.Settled(consumer)
	}
	other := r.store()
	testkit.Await[event.Dispatched](r.Kit, r.bus, other.JobID)
	if asked := r.analyzer.all(); len(asked) != 1 {
		t.Errorf("asked %d times", len(asked))
	}
	if dead := r.Letters(event.Dead()); len(dead) > 0 {
		t.Errorf("dead letters %+v", dead)
	}
	if story := r.Story(r.bus, retried.JobID); !slices.Equal(story, []event.Name{event.NameRetried, event.NameErased}) {
		t.Errorf("story %v", story)
	}
}
