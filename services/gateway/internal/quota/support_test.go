package quota_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/services/gateway/internal/quota"
	"sori.internal/shared/fault"
)

// ledger is a source with the jobs that are recorded, as the tracker has them.
type ledger struct {
	mu       sync.Mutex
	staged   map[string]int64 // number of staged bytes by job
	stored   int64
	log      int64
	err      error
	delay    time.Duration
	readings int
}

func (l *ledger) Usage(ctx context.Context, _ string, jobs []string) (quota.Usage, []string, error) {
	l.mu.Lock()
	l.readings++
	err, delay := l.err, l.delay
	u := quota.Usage{Jobs: int64(len(l.staged)), Stored: l.stored, Log: l.log}
	for _, size := range l.staged {
		u.Staged += size
	}
	var recorded []string
	for _, job := range jobs {
		if _, ok := l.staged[job]; ok {
			recorded = append(recorded, job)
		}
	}
	l.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return quota.Usage{}, nil, ctx.Err()
		}
	}
	return u, recorded, err
}

// change changes the ledger.
func (l *ledger) change(do func(*ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do(l)
}

func (l *ledger) record(job string, size int64) { l.change(func(l *ledger) { l.staged[job] = size }) }

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readings
}

// env has quotas on a ledger.
type env struct {
	*quota.Quotas
	ledger  *ledger
	unknown atomic.Int64
	jobs    atomic.Int64
}

func newEnv(limits quota.Limits) *env {
	e := &env{ledger: &ledger{staged: map[string]int64{}}}
	e.Quotas = quota.New(e.ledger, limits, func() { e.unknown.Add(1) })
	return e
}

// upload reserves the bytes of an upload of alice.
func (e *env) upload(size int64) (string, *quota.Reservation, error) {
	job := fmt.Sprint("job-", e.jobs.Add(1))
	r, err := e.Reserve(context.Background(), "alice", job, size)
	return job, r, err
}

// accept makes an upload of alice that becomes a job, which the ledger records if recorded is true.
func (e *env) accept(t *testing.T, size int64, recorded bool) {
	t.Helper()
	job, r, err := e.upload(size)
	if err == nil {
		err = r.Staged(t.Context(), size)
	}
	if err != nil {
		t.Fatalf("%s: %v", job, err)
	}
	r.Accepted()
	if recorded {
		e.ledger.record(job, size)
	}
}

// refuses checks that an upload of alice is refused for a budget.
func (e *env) refuses(t *testing.T, size int64, budget string, limit, used int64) {
	t.Helper()
	_, _, err := e.upload(size)
	f := fault.As(err)
	if f == nil || f.Kind != fault.RateLimited || f.Code != "quota-exceeded" || f.Detail == "" ||
		f.Extra["budget"] != budget || f.Extra["limit_bytes"] != limit || f.Extra["used_bytes"] != used {
		t.Errorf("%+v, want a refusal for %s of %d of %d", f, budget, used, limit)
		return
	}
	if (f.RetryAfter == 0) != (budget == "stored_bytes") {
		t.Errorf("%s: Retry-After is %v", budget, f.RetryAfter)
	}
}
