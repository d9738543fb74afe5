package app_test

import (
	"net/http"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/source"
	"sori.internal/shared/testkit"
)

// Alice's server does not answer until Bob's recording is stored. Bob's job must be fetched
// although Alice has more jobs than fetches are allowed.
func TestTheFetchesOfOneOwnerLeavePlacesForThoseOfOthers(t *testing.T) {
	t.Parallel()
	env, body := newEnv(t), wav(10_044)
	begun, done := make(chan struct{}, 6), make(chan struct{})
	slow := env.serve(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		select {
		case <-done:
			_, _ = w.Write(body)
		case <-r.Context().Done():
		}
	})
	var waiting []event.Received
	for range cap(begun) {
		waiting = append(waiting, env.analyzeAs("alice", source.Source{URL: slow}))
	}
	env.runFetching(map[string]string{"FETCH_CONCURRENCY": "4"})
	for range 3 { // alice's share
		<-begun
	}
	bob := env.analyzeAs("bob", source.Source{URL: env.serveBody(body)})
	env.checkStored(testkit.Await[event.Stored](env.Kit, env.bus, bob.JobID), body)
	if n := len(begun); n > 0 {
		t.Errorf("%d more fetches of alice have begun", n)
	}
	close(done)
	for _, e := range waiting { // nothing is lost
		env.checkStored(testkit.Await[event.Stored](env.Kit, env.bus, e.JobID), body)
	}
	env.Settled(fetches)
}
