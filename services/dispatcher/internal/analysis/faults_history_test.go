package analysis_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit/faults"
)

// history is one run of a scenario, in which at most one operation fails. It delivers the events to
// the Dispatcher as the consumers do, one after the other, so that every run is the same up to the
// operation that fails.
type history struct {
	*env

	name   string // unique
	faults *faults.Plan
	core   *analysis.Dispatcher
	caches bool // a Dispatcher of this history has cached results
	queues bool // a Dispatcher of this history has limited the number of analyses

	next      uint64                        // sequence of the next message of the stream of jobs
	running   []*bus.Message                // events whose handler wants to poll again
	ended     map[string][]event.Name       // the terminal events of each job
	discarded int                           // number of discarded events
	reported  map[string]bool               // the attempts whose outcome the server has reported
	outcome   func(r request, n int) string // body of the callback about the n-th attempt, from 0; "" if there is none
	recording map[string]string             // SHA-256 of the recording, by job
}

func (env *env) newHistory(f *faults.Plan) *history {
	h := &history{
		env: env, name: uuid.NewString(), faults: f, next: env.position(),
		ended: map[string][]event.Name{}, reported: map[string]bool{}, recording: map[string]string{},
	}
	h.outcome = func(r request, _ int) string { return h.completes(r.job) }
	env.server.reset()
	return h
}

// completes returns the callback of a completed analysis. Its result depends only on the recording.
func (h *history) completes(job string) string {
	return `{"status":"completed","analysis_results":` + h.result(job) + `}`
}

func (h *history) result(job string) string {
	return fmt.Sprintf(`{"of":"%s","points":"%s"}`, h.recording[job], strings.Repeat("1 ", 1<<10))
}

// upload appends the events of an upload, and returns the job.
func (h *history) upload(recording string, references ...string) string {
	h.T().Helper()
	job := h.NewJob()
	sum := fmt.Sprintf("%s %s", recording, h.name)
	h.recording[job] = sum
	stored := event.Stored{JobID: job, TokenID: 7, Bucket: h.objects.Bucket, Key: "audio/" + job, MediaType: "audio/wav", Size: 1, SHA256: sum}
	if len(references) == 2 {
		stored.TextGridURL, stored.PitchURL = references[0], references[1]
	}
	h.Append(h.bus, event.Received{JobID: job, TokenID: 7, Owner: "alice", SHA256: sum})
	h.Append(h.bus, stored)
	return job
}

// finish handles events, and makes the server report the outcomes of its analyses, until nothing
// more happens. Then it reviews the jobs that share an analysis, as each replica does from time to
// time.
func (h *history) finish() {
	h.T().Helper()
	for reviewed := false; ; reviewed = true {
		h.settle()
		for h.reportNext() {
			h.settle()
		}
		if reviewed || !h.caches {
			break
		}
		h.retry("review", func() error { return h.core.ReviewSharing(h.ctx) })
	}
	h.isEmpty(event.Queue())
	h.isEmpty(event.Shared())
}

// retry calls do until it returns nil. Since only one operation fails, the second call succeeds.
func (h *history) retry(what string, do func() error) {
	h.T().Helper()
	for n := 1; ; n++ {
		err := do()
		if err == nil {
			return
		}
		if n == 2 || !fault.Is(err, fault.Unavailable) {
			h.errorf("try %d of %s: %v", n, what, err)
			return
		}
	}
}

// settle handles the events until there are no more. The attempts in the queue get the free slots.
func (h *history) settle() {
	h.T().Helper()
	for {
		m, err := h.bus.Stream(event.Jobs()).NextFromLeader(h.ctx, "audio.>", h.next)
		must(h.T(), err)
		if m != nil {
			h.next = m.Seq + 1
			h.deliver(m)
			continue
		}
		if !h.queues && len(h.running) == 0 {
			return
		}
		before := h.position()
		if h.queues {
			h.retry("schedule", func() error { return h.core.Schedule(h.ctx) })
		}
		running := h.running
		h.running = nil
		for _, m := range running {
			h.deliver(m)
		}
		if h.position() == before {
			return
		}
	}
}

// deliver handles an event, and handles it again if the handler fails.
func (h *history) deliver(m *bus.Message) {
	h.T().Helper()
	e, err := event.Decode(m.Subject, m.Data)
	must(h.T(), err)
	h.count(e)
	for n := uint64(1); ; n++ {
		err := h.handle(e, m.Seq, n)
		var f *fault.Error
		if errors.As(err, &f) && f.Code == "analysis-running" {
			h.running = append(h.running, m)
			return
		}
		if bus.VerdictOn(err, n) == bus.Ack {
			return
		}
		if bus.VerdictOn(err, n) == bus.Reject || n == 3 {
			h.errorf("delivery %d of %s: %v", n, m.Subject, err)
			return
		}
	}
}

// count notes what an event says about the end of a job.
func (h *history) count(e event.Event) {
	if e.Name().Terminal() {
		h.ended[e.Job()] = append(h.ended[e.Job()], e.Name())
	}
	if e.Name() == event.NameDiscarded {
		h.discarded++
	}
}

// handle calls the handler of an event.
func (h *history) handle(e event.Event, seq, delivery uint64) error {
	d := analysis.Delivery{Seq: seq, First: delivery == 1, Backoff: time.Second}
	switch e := e.(type) {
	case event.Stored:
		return h.core.HandleStored(h.ctx, e, d)
	case event.Retried:
		return h.core.HandleRetried(h.ctx, e, d.Backoff)
	case event.Lapsed:
		return h.core.HandleLapsed(h.ctx, e, d.Backoff)
	case event.Granted:
		return h.core.HandleGranted(h.ctx, e, d)
	case event.Dispatched:
		return h.core.HandleDispatched(h.ctx, e, d.Backoff)
	case event.Refused:
		return h.core.HandleRefused(h.ctx, e, d.Backoff)
	case event.Completed:
		return h.core.HandleCompleted(h.ctx, e, delivery)
	case event.Failed:
		return h.core.HandleFailed(h.ctx, e, delivery)
	case event.Canceled:
		return h.core.HandleCanceled(h.ctx, e, delivery)
	case event.Erased:
		return h.core.HandleErased(h.ctx, e, delivery)
	default:
		return nil
	}
}

// reportNext makes the server call back about the oldest attempt that it has not reported on. It
// returns false if there is none.
func (h *history) reportNext() bool {
	h.T().Helper()
	for n, r := range h.server.attempts() {
		if h.reported[r.attempt] {
			continue
		}
		h.reported[r.attempt] = true
		if body := h.outcome(r, n); body != "" {
			h.call(r, body)
			return true
		}
	}
	return false
}

// call posts a callback, and repeats it if it cannot be recorded.
func (h *history) call(r request, body string) {
	h.T().Helper()
	u, err := url.Parse(r.webhook)
	must(h.T(), err)
	from, err := h.core.Authenticate(u.Query())
	must(h.T(), err)
	h.retry("callback", func() error {
		_, err := h.core.Receive(h.ctx, from, analysis.ParseCallback(analysis.Body{Bytes: []byte(body), Limit: 1 << 20}))
		if fault.Is(err, fault.Malformed) { // refused
			return nil
		}
		return err
	})
}

// ends checks that a job has ended with these terminal events, in this order.
func (h *history) ends(job string, names ...event.Name) {
	h.T().Helper()
	if !slices.Equal(h.ended[job], names) {
		h.errorf("a job ended with %v, want %v: %v", h.ended[job], names, h.EventNames(h.bus, job))
	}
}

// completed checks that jobs were completed once, with the result of their recordings.
func (h *history) completed(jobs ...string) {
	h.T().Helper()
	for _, job := range jobs {
		h.ends(job, event.NameCompleted)
		h.hasResult(job)
	}
}

// hasResult checks that the result of a completed job is that of its recording.
func (h *history) hasResult(job string) {
	h.T().Helper()
	log, err := h.deps.Jobs.Read(h.ctx, job)
	must(h.T(), err)
	c, _ := event.Last[event.Completed](log)
	result := []byte(c.Result)
	if c.ResultEntry != "" {
		r, err := staging.New(h.bus).Open(h.ctx, event.Staged{Entry: c.ResultEntry, Chunks: c.ResultChunks})
		must(h.T(), err)
		result, err = io.ReadAll(r)
		must(h.T(), err)
	}
	if string(result) != h.result(job) || !json.Valid(result) {
		h.errorf("the result of a job is %.60s, want %.60s", result, h.result(job))
	}
}

// requests checks how many attempts the server has received. A fault may make one more necessary.
func (h *history) requests(want int) {
	h.T().Helper()
	if n := len(h.server.attempts()); n < want || n > want+1 || len(h.faults.Failed()) == 0 && n != want {
		h.errorf("the server received %d attempts, want %d", n, want)
	}
}
