package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/shared/coordination"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// blocking is an analysis server that answers a request after the analysis, and that
// does not stop an analysis when the client has closed the connection.
type blocking struct {
	release chan struct{} // a test closes it to let the analyses end

	mu       sync.Mutex
	running  map[string]int      // number of running analyses, by job
	askedBy  map[string][]string // hosts of the callback URLs, by Idempotency-Key
	mostJobs int                 // maximal number of jobs with a running analysis
	most     int                 // maximal number of running analyses
}

// ServeHTTP implements http.Handler.
func (b *blocking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	job := r.FormValue("job_id")
	hook, err := url.Parse(r.FormValue("webhook_url"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest) // fails the job, and so the test
		return
	}
	b.mu.Lock()
	key := r.Header.Get("Idempotency-Key")
	b.askedBy[key] = append(b.askedBy[key], hook.Host)
	b.running[job]++
	total := 0
	for _, n := range b.running {
		total += n
	}
	b.mostJobs, b.most = max(b.mostJobs, len(b.running)), max(b.most, total)
	b.mu.Unlock()
	<-b.release
	<-time.After(50 * time.Millisecond) // the duration of the analysis
	b.mu.Lock()
	if b.running[job]--; b.running[job] == 0 {
		delete(b.running, job)
	}
	b.mu.Unlock()
	_, _ = io.WriteString(w, `{"status":"completed","analysis_results":{"a":1}}`)
}

// seen returns the hosts of the callback URLs so far, by Idempotency-Key.
func (b *blocking) seen() map[string][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := map[string][]string{}
	for key, hosts := range b.askedBy {
		all[key] = append([]string(nil), hosts...)
	}
	return all
}

// The limit is for the number of jobs, not of analyses. If a dispatcher is killed, its
// request is sent again for the same attempt, and the server may then run two analyses of
// the job.
func TestNoMoreJobsAreAnalysedThanMayAlthoughADispatcherIsKilled(t *testing.T) {
	t.Parallel()
	const bound, jobs = 3, 9
	ctx, cancel := context.WithTimeout(t.Context(), crashPatience)
	defer cancel()
	b := &blocking{release: make(chan struct{}), running: map[string]int{}, askedBy: map[string][]string{}}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	c := found(ctx, t, map[string]int{harness.Dispatcher: 2, harness.Analyzer: 0}, map[string]string{
		"TARGET_SERVER_URL": server.URL, "ANALYSIS_STATUS_URL": "", "ANALYSIS_MAX_RUNNING": fmt.Sprint(bound),
	})
	accepted := c.uploadAll(ctx, jobs)
	testkit.Eventually(t, func() error {
		if n := len(b.seen()); n < bound {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
	victim, lost := c.killADispatcher(b)
	testkit.Eventually(t, func() error {
		for key := range lost {
			if len(b.seen()[key]) < 2 {
				return fmt.Errorf("%s was not asked for again", key)
			}
		}
		return nil
	})
	close(b.release)
	rows := c.AwaitEnds(accepted)
	for _, job := range accepted {
		if rows[job].Status != "completed" {
			t.Errorf("job %s is %s", job, rows[job].Status)
		}
	}
	if b.mostJobs != bound || b.most > bound+len(lost) {
		t.Errorf("%d jobs and %d analyses at once, %d requests were lost", b.mostJobs, b.most, len(lost))
	}
	for key, hosts := range b.seen() {
		if want := 1 + lost[key]; len(hosts) != want || !strings.HasSuffix(key, ".1") {
			t.Errorf("%s was asked for %d times, want %d", key, len(hosts), want)
		}
	}
	if err := victim.Start(ctx); err != nil {
		t.Error(err)
	}
	c.CheckInvariants(accepted, rows)
}

// killADispatcher kills a dispatcher that waits for answers of the analysis server. It returns the
// keys of the requests that were not answered.
func (c *city) killADispatcher(b *blocking) (victim *harness.Process, lost map[string]int) {
	c.t.Helper()
	lost = map[string]int{}
	for key, hosts := range b.seen() {
		for _, p := range c.Processes(harness.Dispatcher) {
			if p.URL() == "http://"+hosts[0] && (victim == nil || victim == p) {
				victim, lost[key] = p, 1
			}
		}
	}
	if victim == nil {
		c.t.Fatal("no dispatcher asks for anything")
	}
	victim.Kill()
	return victim, lost
}

func TestARestartOfTheAnalysisServerStrandsNobody(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), crashPatience)
	defer cancel()
	c := found(ctx, t, nil, map[string]string{"BEHAVIOUR_DELAY": "4s", "ANALYSIS_POLL_INTERVAL": "1h", "ANALYSIS_DEADLINE_MIN": "1h"})
	jobs := c.uploadAll(ctx, 3)
	for _, job := range jobs {
		testkit.Await[event.Dispatched](c.kit, c.Checker.Bus, job)
	}
	sum := sha256.Sum256([]byte(c.URL(harness.Analyzer) + "/status/{analysis_job_id}"))
	told := coordination.NewFlag(c.Checker.Bus, "ANALYSIS_STATUS", hex.EncodeToString(sum[:]))
	testkit.Eventually(t, func() error {
		set, err := told.IsSet(ctx)
		if err == nil && !set {
			err = errors.New("no status was told yet")
		}
		return err
	})
	c.Process(harness.Analyzer, 0).Kill()
	if err := c.Process(harness.Analyzer, 0).Start(ctx); err != nil {
		t.Fatal(err)
	}
	rows := c.AwaitEnds(jobs)
	all, err := c.Checker.Histories(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range jobs {
		told := names(all[job])
		if rows[job].Status != "completed" || strings.Contains(told, "lapsed") {
			t.Errorf("job %s is %s: %s", job, rows[job].Status, told)
		}
	}
	c.CheckInvariants(jobs, rows)
}
