package analysis_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit/faults"
)

// Every operation of a dependency fails once, in each scenario: either it is not performed, or it is
// performed and its response is lost. Events are redelivered, and the server repeats its callbacks.
// Whichever operation fails, every job must end once, with the right result.
func TestJobsEndTheSameWhicheverOperationFails(t *testing.T) {
	t.Parallel()
	for name, play := range scenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			faults.Sweep(t, func(f *faults.Plan) { play(env.newHistory(f)) })
		})
	}
}

// scenarios returns the scenarios by name. Each checks how its jobs have ended.
func scenarios() map[string]func(*history) {
	return map[string]func(*history){
		"a job is analysed":                             analysed,
		"a job has a large result":                      largeResult,
		"the server answers with the result":            answered,
		"the server rejects the request":                rejected,
		"the callback arrives before the answer":        early,
		"jobs share an analysis":                        shared,
		"the leader fails":                              leaderFails,
		"the leader is erased":                          leaderErased,
		"the job of a cached result is erased":          cachedErased,
		"the cache is disabled while jobs wait":         cacheDisabled,
		"jobs wait for a slot":                          queued,
		"the limit is removed while jobs wait":          limitRemoved,
		"a job is canceled while its request is sent":   abandoned,
		"the server is polled":                          polled,
		"a callback is refused":                         refused,
		"an attempt lapses":                             lapsed,
		"an attempt lapses and the server has finished": lapsedFinished,
		"the last attempt lapses":                       lapsedTwice,
		"a failed job is retried":                       retried,
	}
}

func analysed(h *history) {
	h.start(settings{})
	job := h.upload("a", "references/a.TextGrid", "references/a.txt")
	h.settle()
	h.call(h.server.attempts()[0], `{"status":"processing","progress":50}`)
	h.finish()
	h.completed(job)
	h.requests(1)
}

func largeResult(h *history) {
	h.start(settings{used: 0.9, cache: true})
	job := h.upload("a")
	h.finish()
	h.completed(job)
	h.requests(1)
}

func answered(h *history) {
	h.start(settings{})
	h.server.answer = func(r request) (int, string) { return http.StatusOK, h.completes(r.job) }
	job := h.upload("a")
	h.finish()
	h.completed(job)
	h.requests(1)
}

func rejected(h *history) {
	h.start(settings{})
	h.server.answer = func(request) (int, string) { return http.StatusBadRequest, `{"error":"no"}` }
	h.outcome = func(request, int) string { return "" }
	job := h.upload("a")
	h.finish()
	h.ends(job, event.NameFailed)
	h.requests(1)
}

func early(h *history) {
	h.start(settings{slots: 1})
	h.server.answer = func(r request) (int, string) {
		h.call(r, h.completes(r.job))
		return http.StatusAccepted, ""
	}
	job := h.upload("a")
	h.finish()
	h.completed(job)
	h.requests(1)
}

func shared(h *history) {
	h.start(settings{cache: true})
	a, b, c := h.upload("a"), h.upload("a"), h.upload("a")
	h.finish()
	h.completed(a, b, c)
	d := h.upload("a")
	h.finish()
	h.completed(d)
	h.requests(1)
}

func leaderFails(h *history) {
	h.start(settings{cache: true})
	a, b, c := h.upload("a"), h.upload("a"), h.upload("a")
	h.outcome = func(r request, _ int) string {
		if r.job == a {
			return `{"status":"failed","error":"no speech"}`
		}
		return h.completes(r.job)
	}
	h.finish()
	h.ends(a, event.NameFailed)
	h.completed(b, c)
	h.requests(2)
}

func leaderErased(h *history) {
	h.start(settings{cache: true})
	a, b := h.upload("a"), h.upload("a")
	h.settle()
	h.Append(h.bus, event.Erased{JobID: a})
	h.finish()
	h.ends(a, event.NameErased)
	h.completed(b)
	h.isCanceled(a)
}

// isCanceled checks that the server was asked to cancel the analysis of a job.
func (h *history) isCanceled(job string) {
	h.T().Helper()
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	if !slices.Contains(h.server.canceled, job) {
		h.errorf("the server was not asked to cancel the analysis")
	}
}

func cachedErased(h *history) {
	h.start(settings{cache: true})
	a := h.upload("a")
	h.finish()
	h.completed(a)
	h.Append(h.bus, event.Erased{JobID: a})
	h.finish()
	left, err := h.bus.Stream(event.Results()).Subjects(h.ctx, event.ResultsOfJob(a))
	must(h.T(), err)
	if len(left) > 0 {
		h.errorf("the result of an erased job is cached: %v", left)
	}
	b := h.upload("a")
	h.finish()
	h.completed(b)
}

func cacheDisabled(h *history) {
	h.start(settings{cache: true})
	a, b := h.upload("a"), h.upload("a")
	h.settle()
	h.start(settings{})
	h.finish()
	h.completed(a, b)
}

func queued(h *history) {
	h.start(settings{slots: 1})
	a, b := h.upload("a"), h.upload("b")
	h.finish()
	h.completed(a, b)
	h.requests(2)
}

func limitRemoved(h *history) {
	h.start(settings{slots: 1})
	a, b := h.upload("a"), h.upload("b")
	h.settle()
	h.start(settings{})
	h.finish()
	h.completed(a, b)
	h.requests(2)
}

func abandoned(h *history) {
	h.start(settings{})
	job := h.upload("a")
	h.server.answer = func(request) (int, string) {
		h.AppendUnlessEnded(h.bus, event.Canceled{JobID: job})
		return http.StatusAccepted, ""
	}
	h.finish()
	h.ends(job, event.NameCanceled)
	h.isCanceled(job)
}

func polled(h *history) {
	h.start(settings{})
	job := h.upload("a")
	h.outcome = func(request, int) string { return "" }
	h.server.status = func(n int) string {
		if n < 3 {
			return `{"status":"processing"}`
		}
		return h.completes(job)
	}
	for range 4 { // polls
		h.finish()
	}
	h.completed(job)
}

func refused(h *history) {
	h.start(settings{})
	job := h.upload("a")
	h.settle()
	h.server.status = func(int) string { return h.completes(job) }
	h.call(h.server.attempts()[0], "no JSON")
	h.finish()
	h.completed(job)
}

func lapsed(h *history) {
	h.start(settings{})
	job := h.upload("a")
	h.settle()
	h.server.status = func(int) string { return "no JSON" }
	h.Append(h.bus, event.Lapsed{JobID: job, Attempt: 1})
	h.settle()
	h.finish()
	h.completed(job)
	h.requests(2)
	if h.discarded == 0 {
		h.errorf("the late outcome of the first attempt was not published")
	}
}

func lapsedFinished(h *history) {
	h.start(settings{})
	job := h.upload("a")
	h.settle()
	h.server.status = func(int) string { return h.completes(job) }
	h.Append(h.bus, event.Lapsed{JobID: job, Attempt: 1})
	h.finish()
	h.completed(job)
}

func lapsedTwice(h *history) {
	h.start(settings{})
	job := h.upload("a")
	h.outcome = func(request, int) string { return "" }
	h.server.status = func(int) string { return "no JSON" }
	h.settle()
	h.Append(h.bus, event.Lapsed{JobID: job, Attempt: 1})
	h.settle()
	h.Append(h.bus, event.Lapsed{JobID: job, Attempt: 2})
	h.finish()
	h.ends(job, event.NameFailed)
	h.requests(2)
}

func retried(h *history) {
	h.start(settings{cache: true})
	job := h.upload("a")
	h.outcome = func(r request, _ int) string {
		if strings.HasSuffix(r.attempt, ".1") {
			return `{"status":"failed","error":"no speech"}`
		}
		return h.completes(r.job)
	}
	h.finish()
	h.Append(h.bus, event.Retried{JobID: job, Attempt: 2})
	h.finish()
	h.ends(job, event.NameFailed, event.NameCompleted)
	h.hasResult(job)
}
