package app_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// Two replicas with three slots in all get nine jobs. The server answers a request only when its
// analysis ends, so the number of open requests is the number of running analyses: it must never
// exceed three.
func TestNoMoreAnalysesRunThanThereAreSlotsOverAllReplicas(t *testing.T) {
	t.Parallel()
	const bound, jobs = 3, 9
	env := newEnv(t)
	var running, most atomic.Int64
	started, finish := make(chan request, jobs), make(chan struct{})
	env.analyzer.answer = func(w http.ResponseWriter, a request, _ int) {
		for now, was := running.Add(1), most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
		}
		started <- a
		<-finish
		<-time.After(50 * time.Millisecond) // the analysis
		running.Add(-1)
		_, _ = w.Write([]byte(`{"status":"completed","analysis_results":{}}`))
	}
	settings := map[string]string{"ANALYSIS_MAX_RUNNING": fmt.Sprint(bound)}
	env.run(settings)
	env.run(settings)
	var all []string
	for range jobs {
		all = append(all, env.store().JobID)
	}
	for range bound {
		<-started
	}
	testkit.Eventually(t, func() error {
		if n := len(env.analyzer.all()); n > bound {
			t.Fatalf("%d requests at once", n)
		}
		for _, job := range all {
			if env.count(event.Subject(event.Waiting{JobID: job})) > 0 {
				return nil
			}
		}
		return fmt.Errorf("no job has a waiting event")
	})
	close(finish)
	for _, job := range all {
		testkit.Await[event.Completed](env.Kit, env.bus, job)
	}
	if most.Load() != bound {
		t.Errorf("%d ran at once, want %d", most.Load(), bound)
	}
}
