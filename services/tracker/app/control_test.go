package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// asks posts an action, and checks the status of the answer and that the body contains the text
// tells.
func (l *testJob) asks(action string, status int, tells string) {
	l.t.Helper()
	a := l.request(http.MethodPost, l.url+"/jobs/"+l.id+"/"+action, nil)
	if a.status != status || !strings.Contains(a.raw, tells) {
		l.t.Errorf("%s: %d %s, want %d with %s", action, a.status, a.raw, status, tells)
	}
	if status == http.StatusAccepted && (a.body.JobID != l.id || a.header.Get("Location") != "/tokens/analysis-result/"+l.id) {
		l.t.Errorf("%s: %v %s", action, a.header, a.raw)
	}
}

const (
	isCanceled   = `"status":"canceled"`
	isProcessing = `"status":"processing"`
)

func TestAJobIsCanceledInEveryStateThatIsNotTerminal(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	for name, until := range map[string]func(*testJob){
		"received":   func(l *testJob) { l.received() },
		"stored":     func(l *testJob) { l.received(); l.stored() },
		"attempted":  func(l *testJob) { l.received(); l.stored(); l.attempted(1) },
		"dispatched": func(l *testJob) { l.received(); l.stored(); l.attempted(1); l.dispatched(1) },
		"retried": func(l *testJob) {
			l.received()
			l.stored()
			l.failed()
			l.publish(event.Retried{JobID: l.id, Attempt: 2})
		},
	} {
		j := c.job()
		until(j)
		j.asks("cancel", http.StatusAccepted, isCanceled)
		if a := j.get(j.resultURL(), nil); a.body.Status != "canceled" { // at once
			t.Errorf("%s: %s", name, a.raw)
		}
		j.asks("cancel", http.StatusAccepted, isCanceled)
		j.asks("retry", http.StatusConflict, `"allowed":[]`)
		j.asks("retry", http.StatusConflict, `"current_status":"canceled"`)
		if story := c.EventNames(c.bus, j.id); story[len(story)-1] != event.NameCanceled {
			t.Errorf("%s: story %v", name, story)
		}
	}
}

func TestAFailedJobIsRetriedAsItsNextAttempt(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.attemptedJob()
	j.dispatched(1)
	j.failed()
	failed := j.awaitStatus("failed", 90)
	if ended := j.stream(j.progressURL(), nil).rest(); len(ended) != 1 || ended[0].body.Status != "failed" {
		t.Errorf("the stream of a failed job: %+v", ended)
	}
	j.asks("cancel", http.StatusConflict, `"allowed":["retry"]`)
	j.asks("retry", http.StatusAccepted, isProcessing)
	again := j.get(j.resultURL(), nil) // at once
	if again.body.Status != "processing" || again.body.Progress != 70 || string(again.body.Error) != "null" || again.version() <= failed.version() {
		t.Errorf("retried: %s", again.raw)
	}
	s := j.stream(j.progressURL(), map[string]string{"Last-Event-ID": fmt.Sprint(failed.version())})
	if f := s.next(); f.body.Status != "processing" || f.body.Progress != 70 || f.body.Error != nil {
		t.Errorf("a new stream begins with %s", f.data)
	}
	j.asks("retry", http.StatusConflict, `"current_status":"processing"`)
	log, err := c.jobs.Read(c.Context(), j.id)
	if err != nil || log.Attempt() != 2 {
		t.Fatalf("%v, attempt %d", err, log.Attempt())
	}
	j.seq = log.Seq()
	j.attempted(2)
	j.dispatched(2)
	j.publish(event.Completed{JobID: j.id, Attempt: 2, Result: []byte(`{"a":1}`)})
	if rest := s.rest(); len(rest) == 0 || rest[len(rest)-1].body.Status != "completed" {
		t.Errorf("the stream goes on with %+v", rest)
	}
}

func TestEveryFailureAfterARetryIsAnEventOfItsOwn(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.job()
	j.received()
	j.stored()
	for attempt := range 4 {
		j.publish(event.Failed{JobID: j.id, Attempt: attempt, Code: "analysis-failed", Detail: fmt.Sprint(attempt), Retryable: true})
		j.asks("retry", http.StatusAccepted, isProcessing)
		log, err := c.jobs.Read(c.Context(), j.id)
		if err != nil || log.Attempt() != attempt+1 {
			t.Fatalf("%v, attempt %d", err, log.Attempt())
		}
		j.seq = log.Seq()
	}
	j.awaitStatus("processing", 70)
}

func TestAnActionThatIsNotAllowedIsAConflictThatListsThoseThatAre(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	completed, running, lost := c.job(), c.job(), c.job()
	for _, j := range []*testJob{completed, running, lost} {
		j.received()
	}
	completed.stored()
	completed.attempted(1)
	completed.completed(`{"a":1}`)
	lost.publish(event.Failed{JobID: lost.id, Code: "staging-lost", Detail: "gone"})
	completed.asks("cancel", http.StatusConflict, `"current_status":"completed"`)
	completed.asks("retry", http.StatusConflict, `"allowed":[]`)
	running.asks("retry", http.StatusConflict, `"allowed":["cancel"]`)
	running.asks("retry", http.StatusConflict, `"code":"job-not-retryable"`)
	lost.asks("retry", http.StatusConflict, `not stored`)
	lost.asks("retry", http.StatusConflict, `"allowed":[]`)
	lost.asks("cancel", http.StatusConflict, `"code":"job-not-cancelable"`)
}

func TestAJobWhoseLogHasExpiredIsAnsweredByItsRecord(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	canceled, failed := c.job(), c.job()
	for _, j := range []*testJob{canceled, failed} {
		j.received()
		j.stored()
	}
	canceled.publish(event.Canceled{JobID: canceled.id})
	failed.failed()
	canceled.awaitStatus("canceled", 70)
	failed.awaitStatus("failed", 70)
	stream, err := c.JetStream().Stream(c.Context(), c.Namespace().Stream(event.Jobs().Name))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(c.Context()); err != nil {
		t.Fatal(err)
	}
	canceled.asks("cancel", http.StatusAccepted, isCanceled)
	canceled.asks("retry", http.StatusConflict, `"current_status":"canceled"`)
	failed.asks("retry", http.StatusConflict, `"allowed":[]`)
}

func TestOnlyAJobCanBeCanceledOrRetried(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	for _, id := range []string{c.job().id, "7", "*"} {
		for _, action := range []string{"cancel", "retry"} {
			a := c.request(http.MethodPost, c.url+"/jobs/"+id+"/"+action, nil)
			if a.status != http.StatusNotFound || a.body.Code != "job-not-found" {
				t.Errorf("%s of %q: %d %s", action, id, a.status, a.raw)
			}
		}
	}
	if a := c.request(http.MethodPost, c.url+"/jobs/"+c.job().id+"/explode", nil); a.status != http.StatusNotFound || a.body.Code != "route-not-found" {
		t.Errorf("%d %s", a.status, a.raw)
	}
}

func TestAJobIsControlledWhileTheDatabaseIsUnavailable(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.job()
	j.received()
	j.awaitStatus("processing", 10)
	lock, err := c.db().BeginTxx(c.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(c.Context(), `LOCK TABLE tracker.analysis_results IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	j.asks("cancel", http.StatusAccepted, isCanceled)
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	j.awaitStatus("canceled", 10)
}

func TestAnActionWhileTheBusIsUnavailableGetsRetryAfter(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.job()
	j.received()
	nats := c.Proxy(c.Settings(nil)["NATS_URL"])
	j.url = c.replica(map[string]string{"NATS_URL": nats.URL})
	nats.Cut()
	if a := j.request(http.MethodPost, j.url+"/jobs/"+j.id+"/cancel", nil); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", a.status, a.header, a.raw)
	}
	nats.Restore()
	testkit.Eventually(t, func() error {
		if a := j.request(http.MethodPost, j.url+"/jobs/"+j.id+"/cancel", nil); a.status != http.StatusAccepted {
			return fmt.Errorf("%d %s", a.status, a.raw)
		}
		return nil
	})
	j.awaitStatus("canceled", 10)
}

// An analysis completes while several replicas get requests to cancel the job. One terminal event
// must win, and all answers must agree with it.
func TestOneOfACompletionAndACancellationWins(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	urls := []string{c.url, c.replica(nil)}
	for range 20 {
		j := c.attemptedJob()
		answers := make([]answer, 4)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = c.request(http.MethodPost, urls[i%2]+"/jobs/"+j.id+"/cancel", nil) })
		}
		wg.Go(func() { c.AppendUnlessEnded(c.bus, event.Completed{JobID: j.id, Attempt: 1, Result: []byte(`{}`)}) })
		wg.Wait()
		story := c.EventNames(c.bus, j.id)
		want := http.StatusConflict
		if slices.Contains(story, event.NameCanceled) {
			want = http.StatusAccepted
		}
		if len(story) != 4 {
			t.Errorf("story %v", story)
		}
		for _, a := range answers {
			if a.status != want {
				t.Errorf("story %v, and the answer is %d %s", story, a.status, a.raw)
			}
		}
	}
}

func TestManyRetriesAtOnceMakeOneAttempt(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	urls := []string{c.url, c.replica(nil)}
	j := c.job()
	j.received()
	j.stored()
	j.failed()
	statuses := make([]int, 8)
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() { statuses[i] = c.request(http.MethodPost, urls[i%2]+"/jobs/"+j.id+"/retry", nil).status })
	}
	wg.Wait()
	slices.Sort(statuses)
	if statuses[0] != http.StatusAccepted || statuses[1] != http.StatusConflict {
		t.Errorf("answers %v", statuses)
	}
	log, err := c.jobs.Read(c.Context(), j.id)
	if err != nil || log.Attempt() != 2 {
		t.Errorf("%v, attempt %d", err, log.Attempt())
	}
}
