package watch_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/watch"
)

const id = "01890a5d-ac96-774b-bcce-b302099a8057"

// row is a stub of the database with one record, which counts the reads. If gate is set, a read
// sends on gate and then waits until the test sends on gate.
type row struct {
	reads atomic.Int64
	gate  chan struct{}

	mu  sync.Mutex
	now job.Snapshot
	err error
}

func (r *row) set(s job.Snapshot, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now, r.err = s, err
}

func (r *row) Find(context.Context, string) (job.Snapshot, error) {
	r.reads.Add(1)
	if r.gate != nil {
		r.gate <- struct{}{}
		<-r.gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now, r.err
}

// subscriber records the subscriptions.
type subscriber struct {
	mu         sync.Mutex
	subscribed map[string]bool
	fails      error
}

func (e *subscriber) Subscribe(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fails != nil {
		return e.fails
	}
	e.subscribed[id] = true
	return nil
}

func (e *subscriber) Unsubscribe(id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.subscribed, id)
	return nil
}

func (e *subscriber) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.subscribed)
}

func version(n int64, status job.Status) job.Snapshot {
	return job.Snapshot{JobID: id, Version: n, Status: status}
}

func newWatch(t *testing.T, h *watch.Hub) *watch.Watch {
	t.Helper()
	w, err := h.Watch(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func current(t *testing.T, w *watch.Watch) (*watch.Version, <-chan struct{}) {
	t.Helper()
	v, news, err := w.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v, news
}

func TestASlowClientMissesVersionsAndDelaysNobody(t *testing.T) {
	t.Parallel()
	r := &row{now: version(1, job.Processing)}
	h := watch.NewHub(&subscriber{subscribed: map[string]bool{}}, r)
	w := newWatch(t, h)
	_, news := current(t, w)
	for n := int64(2); n < 100; n++ {
		h.Deliver(version(n, job.Processing))
	}
	h.Deliver(version(50, job.Processing))
	<-news
	if v, news := current(t, w); v.Version != 99 || closed(news) {
		t.Errorf("the newest is %d", v.Version)
	}
	h.Deliver(version(99, job.Processing)) // delivered again
	r.set(version(98, job.Processing), nil)
	if err := w.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	if v, news := current(t, w); v.Version != 99 || closed(news) {
		t.Errorf("an old row made it %d", v.Version)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestTheResultIsReadOnceForAllWatches(t *testing.T) {
	t.Parallel()
	r := &row{now: version(1, job.Processing)}
	h := watch.NewHub(&subscriber{subscribed: map[string]bool{}}, r)
	watches := make([]*watch.Watch, 500)
	for i := range watches {
		watches[i] = newWatch(t, h)
		current(t, watches[i])
	}
	if n := r.reads.Load(); n != 1 {
		t.Errorf("%d reads at the beginning", n)
	}
	done := version(2, job.Completed)
	done.Result = `{"a":1}`
	r.set(done, nil)
	h.Deliver(version(2, job.Completed))
	var wg sync.WaitGroup
	var rendered atomic.Int64
	for _, w := range watches {
		wg.Go(func() {
			v, _, err := w.Current(t.Context())
			if err != nil || v.Result != done.Result {
				t.Errorf("%+v, %v", v, err)
				return
			}
			_, _ = v.Render("ko", func(job.Snapshot) ([]byte, error) { rendered.Add(1); return nil, nil })
		})
	}
	wg.Wait()
	if r.reads.Load() != 2 || rendered.Load() != 1 {
		t.Errorf("%d reads, rendered %d times", r.reads.Load(), rendered.Load())
	}
}

func TestAResultInALiveUpdateIsNotReadAgain(t *testing.T) {
	t.Parallel()
	r := &row{now: version(1, job.Processing)}
	h := watch.NewHub(&subscriber{subscribed: map[string]bool{}}, r)
	w := newWatch(t, h)
	current(t, w)
	done := version(2, job.Completed)
	done.Result = `{"a":1}`
	h.Deliver(done)
	if v, _ := current(t, w); v.Result != done.Result || r.reads.Load() != 1 {
		t.Errorf("%+v after %d reads", v.Snapshot, r.reads.Load())
	}
}

func TestAJobThatIsNotWatchedIsUnsubscribed(t *testing.T) {
	t.Parallel()
	e, r := &subscriber{subscribed: map[string]bool{}}, &row{now: version(1, job.Processing)}
	h := watch.NewHub(e, r)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			w, err := h.Watch(t.Context(), id)
			if err != nil {
				t.Error(err)
				return
			}
			if e.count() != 1 {
				t.Error("a watched job is not listened to")
			}
			h.Deliver(version(2, job.Processing))
			w.Close()
			w.Close()
		})
	}
	wg.Wait()
	if h.Watched() != 0 || e.count() != 0 {
		t.Errorf("%d watched, %d listened to", h.Watched(), e.count())
	}
	e.fails = errors.New("closed")
	if _, err := h.Watch(t.Context(), id); err == nil || h.Watched() != 0 {
		t.Errorf("%v, %d watched", err, h.Watched())
	}
}

func TestAClientThatDisconnectsDoesNotAbortTheReadOfOthers(t *testing.T) {
	t.Parallel()
	r := &row{now: version(1, job.Processing), gate: make(chan struct{})}
	h := watch.NewHub(&subscriber{subscribed: map[string]bool{}}, r)
	first, second := newWatch(t, h), newWatch(t, h)
	leaving, leave := context.WithCancel(t.Context())
	reads := make(chan error, 2)
	defer leave()
	go func() { _, _, err := first.Current(leaving); reads <- err }()
	<-r.gate // wait until the first watch reads
	go func() { _, _, err := second.Current(t.Context()); reads <- err }()
	leave()
	r.gate <- struct{}{}
	for range 2 {
		if err := <-reads; err != nil {
			t.Error(err)
		}
	}
	if n := r.reads.Load(); n != 1 {
		t.Errorf("%d reads", n)
	}
}

func TestAFailedReadIsReportedAndRepeated(t *testing.T) {
	t.Parallel()
	r := &row{now: version(1, job.Processing)}
	h := watch.NewHub(&subscriber{subscribed: map[string]bool{}}, r)
	w := newWatch(t, h)
	current(t, w)
	away := errors.New("away")
	r.set(job.Snapshot{}, away)
	h.Deliver(version(2, job.Completed))
	_, news, err := w.Current(t.Context())
	if !errors.Is(err, away) || news == nil {
		t.Fatalf("%v", err)
	}
	r.set(version(2, job.Completed), nil)
	if v, _ := current(t, w); v.Version != 2 || !closed(news) {
		t.Errorf("%+v", v)
	}
}
