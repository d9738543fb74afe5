package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
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
		old.awaitStatus("completed", 100)
		c.exec(`UPDATE tracker.analysis_results SET ended_at = ended_at - interval '10 years' WHERE job_id = $1`, old.id)
		later.received()
		later.awaitStatus("processing", 10)
		if a := old.get(old.resultURL(), nil); a.body.Status != "completed" {
			t.Errorf("%v: %s", none, a.raw)
		}
	}
}

func TestARecordingIsDeletedWhenItsRetentionIsOverAndTheResultStays(t *testing.T) {
	t.Parallel()
	c := open(t, map[string]string{"AUDIO_RETENTION": "1h", "DEADLINE_SWEEP_INTERVAL": "50ms"})
	j := c.job()
	j.received()
	j.stored()
	j.publish(event.Failed{JobID: j.id, Code: "analysis-failed", Detail: "d", Retryable: true})
	first := j.awaitStatus("failed", 70)
	if !strings.Contains(first.raw, `"audio_expires_at":`) || strings.Contains(first.raw, "audio_deleted_at") {
		t.Errorf("before: %s", first.raw)
	}
	// The second replica has a shorter retention, which also applies to jobs that have ended
	// before.
	c.replica(map[string]string{"AUDIO_RETENTION": "1ms", "DEADLINE_SWEEP_INTERVAL": "50ms"})
	testkit.Eventually(t, func() error {
		a := j.get(j.resultURL(), map[string]string{"If-None-Match": first.header.Get("ETag")})
		if a.status != http.StatusOK || !strings.Contains(a.raw, `"audio_deleted_at":`) || strings.Contains(a.raw, "audio_expires_at") {
			return fmt.Errorf("%d %s", a.status, a.raw)
		}
		return nil
	})
	if a := j.get(j.url+"/jobs/", nil); !strings.Contains(a.raw, `"audio_deleted_at":`) {
		t.Errorf("the list: %s", a.raw)
	}
	if a := j.get(j.audioURL(), nil); a.status != http.StatusGone || a.body.Code != "audio-deleted" {
		t.Errorf("audio: %d %s", a.status, a.raw)
	}
	j.asks("retry", http.StatusConflict, `"code":"job-not-retryable"`)
	j.asks("retry?force=true", http.StatusConflict, `"allowed":[]`)
	j.erase(http.StatusOK, "")
	j.gone()
}
