package job

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// Retention limits the finished jobs that are kept. When one of the limits is exceeded, the oldest jobs are removed.
type Retention struct {
	Jobs  int           // number of finished jobs
	Bytes int           // total size of the results of the finished jobs
	Age   time.Duration // time since a job has finished
}

// task is one job from acceptance to delivery. The lock of the registry guards the fields snapshot, stop and canceled;
// the other fields do not change.
type task struct {
	req       Request
	behaviour Behaviour
	number    uint64
	accepted  time.Time
	done      chan struct{} // closed when the outcome is delivered
	snapshot  Snapshot
	stop      context.CancelCauseFunc // ends the work on the job; nil before the work begins
	canceled  bool
}

// registry finds jobs by this server's id, the caller's id and the idempotency key.
type registry struct {
	mu       sync.Mutex
	keep     Retention
	byID     map[string]*task
	byCaller map[string]*task // the newest job of each caller's id
	byKey    map[string]*task
	finished []*task // in the order in which they finished
	bytes    int     // bytes of the results of finished jobs
	open     int     // jobs that are accepted and not yet delivered
	count    uint64
	closed   bool
}

func newRegistry(keep Retention) *registry {
	return &registry{keep: keep, byID: map[string]*task{}, byCaller: map[string]*task{}, byKey: map[string]*task{}}
}

// add registers a new job, or returns the existing job with the same idempotency key.
func (r *registry) add(t *task, limit int) (existing *task, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.evict(t.accepted)
	if known := r.byKey[t.req.IdempotencyKey]; known != nil && t.req.IdempotencyKey != "" {
		return known, nil
	}
	if r.closed {
		return nil, ErrStopping
	}
	if r.open >= limit {
		return nil, ErrFull
	}
	r.open++
	r.count++
	t.number = r.count
	r.byID[t.snapshot.ID] = t
	if t.req.CallerID != "" {
		r.byCaller[t.req.CallerID] = t
	}
	if t.req.IdempotencyKey != "" {
		r.byKey[t.req.IdempotencyKey] = t
	}
	return nil, nil // no existing job is the normal case
}

// progress updates a running job's snapshot.
func (r *registry) progress(t *task, percent int, message string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.snapshot.Progress, t.snapshot.Message, t.snapshot.Updated = percent, message, now
}

// finish records the outcome; failure is nil after a success.
func (r *registry) finish(t *task, results json.RawMessage, failure *Failure, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.canceled {
		return
	}
	s := &t.snapshot
	s.Results, s.Message, s.Updated = results, "", now
	if failure == nil {
		s.Status, s.Progress = StatusCompleted, 100
	} else {
		s.Status, s.Error, s.Code, s.Retry = StatusFailed, failure.Detail, failure.Code, &failure.Retryable
	}
	r.finished = append(r.finished, t)
	r.bytes += len(results)
	r.evict(now)
}

// deliver marks a job as delivered, so that it no longer counts as open.
func (r *registry) deliver(t *task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	close(t.done)
}

// evict removes the oldest finished jobs that exceed a limit. The newest result is not removed because of its size. The
// caller must hold the lock.
func (r *registry) evict(now time.Time) {
	for len(r.finished) > 0 {
		t := r.finished[0]
		over := len(r.finished) > r.keep.Jobs || (r.bytes > r.keep.Bytes && len(r.finished) > 1)
		if !over && now.Sub(t.snapshot.Updated) <= r.keep.Age {
			return
		}
		r.finished[0] = nil
		r.finished = r.finished[1:]
		r.bytes -= len(t.snapshot.Results)
		r.forget(t)
	}
}

// forget removes a job from the maps. The caller must hold the lock.
func (r *registry) forget(t *task) {
	delete(r.byID, t.snapshot.ID)
	if r.byCaller[t.req.CallerID] == t {
		delete(r.byCaller, t.req.CallerID)
	}
	if r.byKey[t.req.IdempotencyKey] == t {
		delete(r.byKey, t.req.IdempotencyKey)
	}
}

// begin registers the function that ends the work on a job. It calls the function at once if the job was canceled
// before.
func (r *registry) begin(t *task, stop context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.stop = stop; t.canceled {
		stop(errCanceled)
	}
}

// cancel ends the work on a job, and forgets the job with its result. It returns false if no job has the id.
func (r *registry) cancel(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.lookUp(id)
	if t == nil {
		return false
	}
	t.canceled = true
	if t.stop != nil {
		t.stop(errCanceled)
	}
	if at := slices.Index(r.finished, t); at >= 0 {
		r.finished = slices.Delete(r.finished, at, at+1)
		r.bytes -= len(t.snapshot.Results)
	}
	r.forget(t)
	return true
}

// lookUp returns a job by either id, or nil. The caller must hold the lock.
func (r *registry) lookUp(id string) *task {
	if t := r.byID[id]; t != nil {
		return t
	}
	return r.byCaller[id]
}

// find returns a job by either id.
func (r *registry) find(id string, now time.Time) (Snapshot, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.evict(now)
	t := r.lookUp(id)
	if t == nil {
		return Snapshot{}, false
	}
	return t.snapshot, true
}

// close makes add refuse new jobs.
func (r *registry) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}
