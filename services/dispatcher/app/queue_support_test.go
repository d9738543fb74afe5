package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"sori.internal/services/dispatcher/internal/queue"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// line is a stub of the analysis server. It answers a request only when the test ends the analysis.
type line struct {
	env *env

	mu      sync.Mutex
	started []string                 // the jobs, in the order of their requests
	ends    map[string]chan struct{} // by job: closed when the analysis may end
	running int                      // the number of running analyses
	most    int                      // the largest number of analyses that ran at the same time
	closed  bool                     // each analysis ends as soon as it begins
}

// newLine replaces the answers of the environment's analysis server by those of a line.
func newLine(env *env) *line {
	l := &line{env: env, ends: map[string]chan struct{}{}}
	env.analyzer.answer = func(w http.ResponseWriter, r request, _ int) {
		<-l.begin(r.field("job_id"))
		l.end()
		_, _ = w.Write([]byte(`{"status":"completed","analysis_results":{}}`))
	}
	env.t.Cleanup(l.release)
	return l
}

func (l *line) begin(job string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = append(l.started, job)
	l.running++
	l.most = max(l.most, l.running)
	if l.ends[job] == nil {
		l.ends[job] = make(chan struct{})
		if l.closed {
			close(l.ends[job])
		}
	}
	return l.ends[job]
}

func (l *line) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
}

// awaitStarts waits until n requests have arrived since the line was made, and returns their jobs
// in order.
func (l *line) awaitStarts(n int) []string {
	l.env.t.Helper()
	var started []string
	testkit.Eventually(l.env.t, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if started = slices.Clone(l.started); len(started) < n {
			return fmt.Errorf("%d of %d analyses have started", len(started), n)
		}
		return nil
	})
	return started
}

// finish ends the running analysis of a job.
func (l *line) finish(job string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.ends[job])
}

// release ends all analyses, also those that begin later.
func (l *line) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for job, end := range l.ends {
		select {
		case <-end: // finished
		default:
			close(l.ends[job])
		}
	}
}

// upload appends the events of n stored recordings of an owner, and returns their jobs. The
// recordings are not in the bucket, since the stub of the analysis server does not read them.
func (env *env) upload(owner string, n int) []string {
	env.t.Helper()
	jobs := make([]string, n)
	for i := range jobs {
		jobs[i] = env.NewJob()
		env.append(event.Received{JobID: jobs[i], TokenID: 7, Owner: owner})
		env.append(event.Stored{JobID: jobs[i], TokenID: 7, Bucket: env.bucket, Key: "audio/" + jobs[i], MediaType: "audio/wav", Size: 1})
	}
	return jobs
}

// queued waits until n attempts are in the queue.
func (env *env) queued(n uint64) {
	env.t.Helper()
	testkit.Eventually(env.t, func() error {
		state, err := queue.New(env.bus).State(env.Context())
		if err == nil && state.Length != n {
			err = fmt.Errorf("%d attempts are in the queue, want %d", state.Length, n)
		}
		return err
	})
}

// complete waits until the jobs are completed, and checks that each of them was requested once.
func (env *env) complete(jobs ...string) {
	env.t.Helper()
	for _, job := range jobs {
		testkit.Await[event.Completed](env.Kit, env.bus, job)
		if n := len(env.analyzer.requestsOf(job)); n != 1 {
			env.t.Errorf("job %s was requested %d times", job, n)
		}
	}
	env.queued(0)
}

// limited returns settings with a number of slots.
func limited(slots int) map[string]string {
	return map[string]string{"ANALYSIS_MAX_RUNNING": strconv.Itoa(slots)}
}
