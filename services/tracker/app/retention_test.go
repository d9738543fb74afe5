package app_test

import (
	"slices"
	"testing"

	"sori.internal/shared/event"
)

func TestAJobIsErasedWhenItsRetentionIsOver(t *testing.T) {
	t.Parallel()
	short := map[string]string{"RESULT_RETENTION": "100ms", "DEADLINE_SWEEP_INTERVAL": "50ms"}
	c := open(t, short)
	c.replica(short) // both replicas sweep
	done, active := c.job(), c.job()
	active.received()
	done.received()
	done.stored()
	done.attempted(1)
	done.completed(`{"secret":1}`)
	done.untilErased()
	done.gone()
	if a := active.get(active.resultURL(), nil); a.body.Status != "processing" {
		t.Errorf("the other job: %s", a.raw)
	}
	if story := c.EventNames(c.bus, done.id); slices.Index(story, event.NameErased) != len(story)-1 {
		t.Errorf("story %v", story)
	}
}

func TestJobsAreKeptForEverUnlessARetentionIsSet(t *testing.T) {
	t.Parallel()
	for _, none := range []map[string]string{{}, {"RESULT_RETENTION": ""}, {"RESULT_RETENTION": "0"}} {
		none["DEADLINE_SWEEP_INTERVAL"] = "10ms"
		c := open(t, none)
		old, later := c.job(), c.job()
		old.received()
		old.stored()
		old.completed(`{}`)
		old.until("completed", 100)
		c.exec(`UPDATE tracker.analysis_results SET ended_at = ended_at - interval '10 years' WHERE job_id = $1`, old.id)
		later.received()
		later.until("processing", 10)
		if a := old.get(old.resultURL(), nil); a.body.Status != "completed" {
			t.Errorf("%v: %s", none, a.raw)
		}
	}
}
