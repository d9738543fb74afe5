package app_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// erase sends DELETE for a job, and checks the status of the answer and that the body contains the
// text tells.
func (l *testJob) erase(status int, tells string) {
	l.t.Helper()
	if a := l.request(http.MethodDelete, l.url+"/jobs/"+l.id, nil); a.status != status || !strings.Contains(a.raw, tells) {
		l.t.Errorf("erase: %d %s, want %d with %s", a.status, a.raw, status, tells)
	}
}

const isErased = `"code":"job-erased"`

// gone checks that every route answers 410 for the job, and that no list has the job.
func (l *testJob) gone() {
	l.t.Helper()
	for _, url := range []string{l.resultURL(), l.resultURL() + "?wait=20", l.progressURL(), l.progressURL() + "?last_event_id=999", l.audioURL()} {
		if a := l.get(url, map[string]string{"If-None-Match": "*"}); a.status != http.StatusGone || !strings.Contains(a.raw, isErased) {
			l.t.Errorf("%s: %d %s", url, a.status, a.raw)
		}
	}
	l.asks("cancel", http.StatusGone, isErased)
	l.asks("retry", http.StatusGone, isErased)
	l.erase(http.StatusGone, isErased)
	if p := l.page(l.url + "/jobs/?limit=200"); slices.Contains(p.ids(), l.id) {
		l.t.Error("it is listed")
	}
}

// untilGone waits until the tracker answers 410 for the job.
func (l *testJob) untilGone() {
	l.t.Helper()
	testkit.Eventually(l.t, func() error {
		if a := l.get(l.resultURL(), nil); a.status != http.StatusGone {
			return fmt.Errorf("job %s is %d %s", l.id, a.status, a.raw)
		}
		return nil
	})
}

// untilErased waits until the log of the job contains the event `erased` and the tracker answers
// 410 for the job.
func (l *testJob) untilErased() {
	l.t.Helper()
	testkit.Eventually(l.t, func() error {
		if story := l.EventNames(l.bus, l.id); !slices.Contains(story, event.NameErased) {
			return fmt.Errorf("job %s: %v", l.id, story)
		}
		return nil
	})
	l.untilGone()
}

// forget removes all events before the event `erased` from the log of a job, as the uploader does.
func (l *testJob) forget() {
	l.t.Helper()
	log, err := l.jobs.Read(l.Context(), l.id)
	if err == nil {
		err = l.jobs.Purge(l.Context(), l.id, log.Seq())
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// finished returns a completed job of a token.
func (c *env) finished(token int64) *testJob {
	c.t.Helper()
	j := c.accepted(token)
	j.stored()
	j.attempted(1)
	j.completed(`{"secret":1}`)
	return j
}

// accepted publishes the event `received` for a new job of a token.
func (c *env) accepted(token int64) *testJob {
	c.t.Helper()
	j := c.job()
	j.publish(event.Received{JobID: j.id, TokenID: token, FileName: "비밀.wav", MediaType: "audio/wav", Size: 1000, SHA256: "ab", Chunks: 1})
	return j
}

// deleted publishes that a token was deleted.
func (c *env) deleted(token int64) {
	c.t.Helper()
	if err := c.bus.Publish(c.Context(), event.TokenDeleted{TokenID: token}); err != nil {
		c.t.Fatal(err)
	}
}

func TestAJobIsErasedInEveryState(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	for name, until := range map[string]func(*testJob){
		"received": func(l *testJob) { l.received() },
		"dispatched": func(l *testJob) {
			l.received()
			l.stored()
			l.attempted(1)
			l.dispatched(1)
			l.progressed(40, "비밀")
		},
		"completed": func(l *testJob) { l.received(); l.stored(); l.attempted(1); l.completed(`{"비밀":1}`) },
		"failed":    func(l *testJob) { l.received(); l.stored(); l.failed() },
		"canceled":  func(l *testJob) { l.received(); l.publish(event.Canceled{JobID: l.id}) },
	} {
		j := c.job()
		until(j)
		j.erase(http.StatusOK, `{"detail":"Job deleted successfully"}`)
		j.gone() // at once
		j.forget()
		j.gone()
		if t.Failed() {
			t.Fatalf("the job was %s", name)
		}
	}
	for _, secret := range []string{"녹음", "비밀", "no speech", "audio/wav"} {
		if rows := c.rows(); strings.Contains(rows, secret) {
			t.Errorf("%s is in %s", secret, rows)
		}
	}
}

func TestStreamsOfAJobEndWhenItIsErased(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.job()
	j.received()
	j.stored()
	j.awaitStatus("processing", 70)
	elsewhere := strings.Replace(j.progressURL(), c.url, c.replica(nil), 1)
	streams := []*stream{j.stream(j.progressURL(), nil), c.stream(elsewhere, map[string]string{"Accept-Language": "en"})}
	seen := streams[0].next()
	streams[1].next()
	held := make(chan answer)
	go func() { held <- j.get(j.resultURL()+"?wait=60", nil) }()
	j.erase(http.StatusOK, "deleted")
	for i, message := range []string{"작업 삭제됨", "Job deleted"} {
		rest := streams[i].rest()
		if len(rest) != 1 || rest[0].body.Status != "canceled" || rest[0].body.Stage != "erased" || rest[0].body.Message != message || rest[0].body.Progress != 70 || rest[0].id <= seen.id {
			t.Errorf("after the erasure came %+v", rest)
		}
	}
	if a := <-held; a.status != http.StatusGone {
		t.Errorf("the held reply: %d %s", a.status, a.raw)
	}
	if again := j.get(elsewhere, map[string]string{"Last-Event-ID": fmt.Sprint(seen.id)}); again.status != http.StatusGone {
		t.Errorf("who comes back: %d %s", again.status, again.raw)
	}
}

func TestDeletingATokenErasesItsJobs(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	c.replica(nil)
	var doomed, others []*testJob
	for range 100 {
		doomed = append(doomed, c.finished(7))
	}
	for range 10 {
		others = append(others, c.finished(8))
	}
	c.settled(uint64(4 * (len(doomed) + len(others))))
	c.deleted(7)
	for _, j := range doomed {
		j.untilErased()
		j.gone()
	}
	for _, j := range others {
		if a := j.get(j.resultURL(), nil); a.body.Status != "completed" || string(a.body.Result) != `{"secret":1}` {
			t.Errorf("a job of another token: %d %s", a.status, a.raw)
		}
		if story := c.EventNames(c.bus, j.id); len(story) != 4 {
			t.Errorf("its story: %v", story)
		}
	}
	later := c.accepted(7) // received arrives after the deletion of its token, and the job must be erased, too
	later.untilErased()
	later.gone()
	c.settled(0) // the row is erased before the projection has the last event
	rows := c.rows()
	for _, consumer := range []string{"AUDIO_TOKENS tracker-deleted", "AUDIO_JOBS tracker-projection"} {
		c.recreateConsumer(consumer)
	}
	if now := c.rows(); now != rows {
		t.Errorf("a replay changed %s\nto %s", rows, now)
	}
	if dead := c.dead(); len(dead) > 0 {
		t.Errorf("dead letters %v", dead)
	}
}

// recreateConsumer recreates a consumer, so that it handles all its events again, and waits until
// the events are settled. The argument is "STREAM consumer".
func (c *env) recreateConsumer(consumer string) {
	c.t.Helper()
	stream, name, _ := strings.Cut(consumer, " ")
	stream = c.Namespace().Stream(stream)
	js := c.JetStream()
	if err := js.DeleteConsumer(c.Context(), stream, name); err != nil {
		c.t.Fatal(err)
	}
	testkit.Eventually(c.t, func() error {
		cons, err := js.Consumer(c.Context(), stream, name)
		if err != nil {
			return err
		}
		if info := cons.CachedInfo(); info.NumPending > 0 || info.NumAckPending > 0 || info.Delivered.Consumer == 0 {
			return errors.New("not settled")
		}
		return nil
	})
}

// A token is deleted while two replicas record jobs of the token. Every job must be erased, whether
// it is recorded before or after the deletion.
func TestEveryJobOfADeletedTokenIsErased(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	c.replica(nil)
	for token := int64(1); token <= 5; token++ {
		jobs := make([]*testJob, 40)
		for i := range jobs {
			jobs[i] = c.job()
		}
		var wg sync.WaitGroup
		for i, j := range jobs {
			wg.Go(func() {
				if _, err := c.jobs.Append(c.Context(), event.Received{JobID: j.id, TokenID: token}, 0); err != nil {
					t.Error(err)
				}
				if i == len(jobs)/2 {
					if err := c.bus.Publish(c.Context(), event.TokenDeleted{TokenID: token}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for _, j := range jobs {
			j.untilGone()
		}
	}
}

func TestAJobWhoseLogHasExpiredIsErased(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	asked, ofToken := c.finished(7), c.finished(8)
	asked.awaitStatus("completed", 100)
	ofToken.awaitStatus("completed", 100)
	stream, err := c.JetStream().Stream(c.Context(), c.Namespace().Stream(event.Jobs().Name))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(c.Context()); err != nil {
		t.Fatal(err)
	}
	asked.erase(http.StatusOK, "deleted")
	asked.gone()
	c.deleted(8)
	ofToken.untilGone()
	ofToken.gone()
	for _, j := range []*testJob{asked, ofToken} {
		j.untilErased() // the event is necessary because the uploader consumes the event erased
	}
	if err := stream.Purge(c.Context()); err != nil {
		t.Fatal(err)
	}
	asked.gone()
}

func TestAJobIsErasedWhileTheDatabaseIsUnavailable(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j, ofToken := c.finished(7), c.finished(8)
	j.awaitStatus("completed", 100)
	ofToken.awaitStatus("completed", 100)
	lock, err := c.db().BeginTxx(c.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(c.Context(), `LOCK TABLE tracker.analysis_results, tracker.deleted_tokens IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	j.erase(http.StatusOK, "deleted")
	c.deleted(8)
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	for _, j := range []*testJob{j, ofToken} {
		j.untilErased()
		j.gone()
	}
}

func TestOnlyAJobCanBeErased(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	for _, id := range []string{c.job().id, "7", "*"} {
		if a := c.request(http.MethodDelete, c.url+"/jobs/"+id, nil); a.status != http.StatusNotFound || a.body.Code != "job-not-found" {
			t.Errorf("%q: %d %s", id, a.status, a.raw)
		}
	}
	if n := len(c.Messages(event.Jobs())); n > 0 {
		t.Errorf("%d events", n)
	}
}

// Several clients request the erasure of a job while its analysis completes. Whichever event comes
// first, the job must end erased.
func TestOneOfManyErasuresWins(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	urls := []string{c.url, c.replica(nil)}
	for range 20 {
		j := c.attemptedJob()
		statuses := make([]int, 6)
		var wg sync.WaitGroup
		for i := range statuses {
			wg.Go(func() { statuses[i] = c.request(http.MethodDelete, urls[i%2]+"/jobs/"+j.id, nil).status })
		}
		wg.Go(func() { c.AppendUnlessEnded(c.bus, event.Completed{JobID: j.id, Attempt: 1, Result: []byte(`{}`)}) })
		wg.Wait()
		slices.Sort(statuses)
		if statuses[0] != http.StatusOK || statuses[1] != http.StatusGone {
			t.Errorf("answers %v", statuses)
		}
		j.untilErased()
		j.gone()
	}
}
