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

// Nine jobs, three at once, on two replicas, with a server that answers when it has
// finished.
func TestNoMoreAnalysesRunThanMayOverAllReplicas(t *testing.T) {
	t.Parallel()
	const bound, jobs = 3, 9
	r := newRig(t)
	var running, most atomic.Int64
	started, finish := make(chan asked, jobs), make(chan struct{})
	r.analyzer.answer = func(w http.ResponseWriter, a asked, _ int) {
		for now, was := running.Add(1), most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
		}
		started <- a
		<-finish
		<-time.After(50 * time.Millisecond) // the analysis
		running.Add(-1)
		_, _ = w.Write([]byte(`{"status":"completed","analysis_results":{}}`))
	}
	settings := map[string]string{"ANALYSIS_MAX_RUNNING": fmt.Sprint(bound)}
	r.run(settings)
	r.run(settings)
	var all []string
	for range jobs {
		all = append(all, r.store().JobID)
	}
	for range bound {
		<-started
	}
	testkit.Eventually(t, func() error {
		if n := len(r.analyzer.all()); n > bound {
			t.Fatalf("%d requests at once", n)
		}
		for _, job := range all {
			if r.count(event.Subject(event.Waiting{JobID: job})) > 0 {
				return nil
			}
		}
		return fmt.Errorf("no job is told that it waits")
	})
	close(finish)
	for _, job := range all {
		testkit.Await[event.Completed](r.Kit, r.bus, job)
	}
	if most.Load() != bound {
		t.Errorf("%d ran at once, want %d", most.Load(), bound)
	}
}
