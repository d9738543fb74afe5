package job

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// Retention limits the finished jobs that are kept. When a limit is exceeded, the oldest finished jobs are removed.
type Retention struct {
	Jobs  int           // number of finished jobs
	Bytes int           // total size of the results of the finished jobs
	Age   time.Duration // time since a job has finished
}

// task is one job from acceptance to delivery. The lock of the registry guards the fields snapshot, stop and canceled;
// the other fields do not change after the job was added.
type task struct {
	req       Request
	behaviour Behaviour
	number    uint64
	accepted  time.Time
	done      chan struct{} // closed when no more callbacks of the job will be sent
	snapshot  Snapshot
	stop      context.CancelCauseFunc // cancels the context of the job; nil before the work begins
	canceled  bool
}

// registry finds jobs by this server's id, the caller's id and the idempotency key.
type registry struct {
	mu       sync.Mutex
	keep     Retention
	byID     map[string]*task
	byCaller map[string]*task // for each id of a caller, the newest job with this id
	byKey    map[string]*task
	finished []*task // finished jobs, in the order in which they finished
	bytes    int     // bytes of the results of finished jobs
	open     int     // number of accepted jobs whose processing has not ended
	count    uint64
	closed   bool
}

func newRegistry(keep Retention) *registry {
	return &registry{keep: keep, byID: map[string]*task{}, byCaller: map[string]*task{}, byKey: map[string]*task{}}
}

// add registers a new job and returns nil, or returns the existing job with the same idempotency key. It fails with
// ErrStopping or ErrFull.
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
	return nil, nil // nil without an error: the job is new
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

// deliver marks the processing of a job as ended: the job no longer counts as open.
func (r *registry) deliver(t *task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	close(t.done)
}

// evict removes the oldest finished jobs until no limit of Retention is exceeded. The limit of bytes never removes the
// last remaining job. The caller must hold the lock.
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

// cancel ends the work on a job, and deletes the job and its result. It returns false if no job has the id.
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

// lookUp returns the job with this server's id or the caller's id, or nil. The caller must hold the lock.
func (r *registry) lookUp(id string) *task {
	if t := r.byID[id]; t != nil {
		return t
	}
	return r.byCaller[id]
}

// find returns the state of the job with this server's id or the caller's id.
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

// close makes add reject new jobs with ErrStopping.
func (r *registry) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}
