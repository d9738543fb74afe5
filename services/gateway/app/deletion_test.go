package app_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// waitPublished waits until the outbox is empty. It returns how often the deletion of each token
// was published.
func (g *env) waitPublished() map[string]int {
	g.t.Helper()
	g.awaitCondition(`NOT EXISTS (SELECT FROM catalogue.deleted_tokens)`)
	published := map[string]int{}
	for _, m := range g.kit.Messages(event.Tokens()) {
		published[m.Header.Get("ce-subject")]++
		if want := "token." + m.Header.Get("ce-subject") + ".deleted"; m.Header.Get("ce-id") != want || m.Header.Get("ce-type") != "audio.token.deleted.v1" ||
			m.Header.Get("ce-source") != "/gateway" || m.Subject != "audio.tokens."+m.Header.Get("ce-subject")+".deleted" {
			g.t.Errorf("%s %v", m.Subject, m.Header)
		}
	}
	return published
}

// delete deletes a token and checks that it is not found any more.
func (g *env) delete(token int64) {
	g.t.Helper()
	path := fmt.Sprintf("/tokens/%d", token)
	if r := g.do("DELETE", path, nil, nil); r.StatusCode != http.StatusOK || string(r.text) != `{"detail":"Token deleted successfully"}` {
		g.t.Errorf("deleted: %s %s", r.Status, r.text)
	}
	g.problem(g.do("GET", path, nil, nil), 404, "token-not-found")
	g.problem(g.do("DELETE", path, nil, nil), 404, "token-not-found")
}

func TestADeletedTokenIsGoneAtOnceAndItsDeletionIsPublished(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.delete(g.token)
	g.problem(g.upload(nil, part{name: "file", file: "a.wav", content: wav(100)}), 404, "token-not-found")
	if r := g.do("GET", "/tokens", nil, nil); string(r.text) != "[]" {
		t.Errorf("listed: %s", r.text)
	}
	if published := g.waitPublished(); len(published) != 1 || published[fmt.Sprint(g.token)] != 1 {
		t.Errorf("published %v", published)
	}
	g.problem(g.do("DELETE", "/tokens/4711", nil, nil), 404, "token-not-found")
	if published := g.waitPublished(); len(published) != 1 {
		t.Errorf("published %v", published)
	}
}

func TestADeletionIsAcceptedWhileNATSIsAwayAndPublishedLater(t *testing.T) {
	t.Parallel()
	g, nats, _ := withFaultProxies(t)
	g.withToken()
	nats.Cut()
	g.delete(g.token)
	g.awaitCondition(`EXISTS (SELECT FROM catalogue.deleted_tokens)`)
	nats.Restore()
	if published := g.waitPublished(); published[fmt.Sprint(g.token)] != 1 {
		t.Errorf("published %v", published)
	}
}

// A replica died after the transaction of a deletion: token 4711 was published but not removed from
// the outbox, and token 4712 was not published. Both deletions must be in the stream once.
func TestADeletionThatACrashLeftInTheOutboxIsPublishedByAnyReplica(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	if err := g.kit.Bus("gateway").Publish(g.kit.Context(), event.TokenDeleted{TokenID: 4711}); err != nil {
		t.Fatal(err)
	}
	g.sql(`INSERT INTO catalogue.deleted_tokens (token_id) VALUES (4711), (4712)`)
	published := g.waitPublished()
	if len(published) != 2 || published["4711"] != 1 || published["4712"] != 1 { // NATS drops the second message about 4711
		t.Errorf("published %v", published)
	}
}

func TestEveryDeletionInTheOutboxIsPublishedByOneOfTheReplicas(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	replicas := []*env{g, g.startReplica(nil)}
	tokens := make([]int64, 30)
	for i := range tokens {
		tokens[i] = int64(g.create(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`)["id"].(float64))
	}
	statuses := make([]int, 2*len(tokens))
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() {
			r, err := replicas[i%2].try(g.kit.Context(), "DELETE", fmt.Sprintf("/tokens/%d", tokens[i/2]), nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			statuses[i] = r.StatusCode
		})
	}
	wg.Wait()
	for i, token := range tokens {
		if a, b := statuses[2*i], statuses[2*i+1]; min(a, b) != http.StatusOK || max(a, b) != http.StatusNotFound {
			t.Errorf("token %d: %d and %d", token, a, b)
		}
	}
	testkit.Eventually(t, func() error {
		published := g.waitPublished()
		for _, token := range tokens {
			if published[fmt.Sprint(token)] != 1 {
				return fmt.Errorf("token %d was published %d times", token, published[fmt.Sprint(token)])
			}
		}
		return nil
	})
}

// The gateway accepts the upload. The services that consume the events of the upload and of the
// deletion erase the job.
func TestAnUploadThatIsUnderWayWhenItsTokenIsDeletedIsAccepted(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	b := g.begin("k", wav(600<<10))
	g.delete(g.token)
	g.waitPublished()
	if r := g.received(g.checkAccepted(b.finish(), false)); r.TokenID != g.token {
		t.Errorf("%+v", r)
	}
}

func TestTheKeyOfAnErasedJobIsAnsweredWith410(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	content := wav(600 << 10)
	job := g.checkAccepted(g.uploadWithKey("k", content), false)
	log, err := g.jobs.Update(g.kit.Context(), job, nil, func(event.Log) (event.Event, error) { return event.Erased{JobID: job}, nil })
	if err == nil {
		err = g.jobs.Purge(g.kit.Context(), job, log.Seq())
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := g.checkAccepted(g.uploadWithKey("k", content), true); got != job {
		t.Errorf("job %s became %s", job, got)
	}
	g.sql(`UPDATE catalogue.upload_keys SET sha256 = NULL, holder = gen_random_uuid(), lease_until = now()`) // the claim as it is if the upload dies before it finishes the claim
	for range 2 {
		g.problem(g.uploadWithKey("k", content), 410, "job-erased")
		g.sql(`UPDATE catalogue.upload_keys SET lease_until = now()`)
	}
}
