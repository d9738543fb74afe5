package job

import (
	"context"
	"sync"
	"time"
)

// Ears hears what copies of the tracker announce of a job.
type Ears interface {
	Listen(ctx context.Context, id string) error // returns when it is in effect
	Ignore(id string) error
}

// Source reads the newest committed version of a job.
type Source interface {
	Find(ctx context.Context, id string) (Snapshot, error)
}

// Hub brings announced versions to the viewers of this process. It listens only
// to the jobs that are watched here, and keeps of each only the newest version:
// a slow viewer holds nobody up and misses what it was too slow for.
type Hub struct {
	ears   Ears
	source Source

	mu     sync.Mutex
	topics map[string]*topic
}

// NewHub makes a hub.
func NewHub(ears Ears, source Source) *Hub {
	return &Hub{ears: ears, source: source, topics: map[string]*topic{}}
}

// The bounds of what viewers wait for together.
const (
	listenTimeout = 250 * time.Millisecond // while the bus is away, reading goes on without
	readTimeout   = 5 * time.Second
)

// Watch begins to watch a job; the caller must Close the watch. It listens
// before it reads, so that no change falls between the two.
func (h *Hub) Watch(ctx context.Context, id string) (*Watch, error) {
	t := h.join(id)
	if err := t.listen(ctx, h.ears); err != nil {
		h.leave(t)
		return nil, err
	}
	return &Watch{hub: h, topic: t}, nil
}

func (h *Hub) join(id string) *topic {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[id]
	if t == nil {
		t = &topic{id: id, source: h.source, news: make(chan struct{}), reads: map[int64]*read{}}
		h.topics[id] = t
	}
	t.viewers++
	return t
}

// leave frees a topic with its last viewer. It stops listening under the lock,
// before a next viewer can make the topic anew and listen again.
func (h *Hub) leave(t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.viewers--; t.viewers == 0 {
		delete(h.topics, t.id)
		_ = h.ears.Ignore(t.id) // what is heard of an unknown topic is dropped
	}
}

// Hear takes an announced version.
func (h *Hub) Hear(s Snapshot) {
	h.mu.Lock()
	t := h.topics[s.JobID]
	h.mu.Unlock()
	if t != nil {
		t.offer(&Version{Snapshot: s, whole: s.Status != Completed})
	}
}

// Watched is how many jobs are watched.
func (h *Hub) Watched() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.topics)
}

// Watch is one viewer's eye on a job.
type Watch struct {
	hub    *Hub
	topic  *topic
	closed sync.Once
}

// Close ends the watch.
func (w *Watch) Close() { w.closed.Do(func() { w.hub.leave(w.topic) }) }

// Current returns the newest version that is known, whole, and a channel that is
// closed when there is a newer one. It reads the row only where nothing, or not
// all, is known yet. The channel is valid with an error too.
func (w *Watch) Current(ctx context.Context) (*Version, <-chan struct{}, error) {
	for {
		v, news := w.topic.latest()
		if v != nil && v.whole {
			return v, news, nil
		}
		wanted := anyVersion
		if v != nil {
			wanted = v.Version
		}
		if err := w.topic.read(ctx, wanted); err != nil {
			return nil, news, err
		}
	}
}

// Refresh reads the row, in case that an announcement was lost.
func (w *Watch) Refresh(ctx context.Context) error { return w.topic.read(ctx, anyVersion) }

// anyVersion is wanted of a read that looks for whatever is newest.
const anyVersion int64 = -1

// topic is one watched job.
type topic struct {
	id      string
	source  Source
	viewers int // guarded by the hub's lock

	setup     sync.Mutex
	listening bool

	mu     sync.Mutex
	newest *Version
	news   chan struct{} // closed when newest is replaced
	reads  map[int64]*read
}

// read is one look at the row, which all who want the same version share.
type read struct {
	done chan struct{}
	err  error
}

// listen returns when announcements of the job are heard.
func (t *topic) listen(ctx context.Context, ears Ears) error {
	t.setup.Lock()
	defer t.setup.Unlock()
	if t.listening {
		return nil
	}
	// For all viewers of the topic: the first one's leaving must not cut it short.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listenTimeout)
	defer cancel()
	if err := ears.Listen(ctx, t.id); err != nil {
		return err
	}
	t.listening = true
	return nil
}

func (t *topic) latest() (*Version, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest, t.news
}

// offer replaces the newest version by one that is newer, or whole where that
// one is not.
func (t *topic) offer(v *Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.newest; n != nil && (v.Version < n.Version || v.Version == n.Version && (n.whole || !v.whole)) {
		return
	}
	t.newest = v
	close(t.news)
	t.news = make(chan struct{})
}

// read offers the row to the topic. Of those who want a version at the same time
// one reads for all.
func (t *topic) read(ctx context.Context, wanted int64) error {
	t.mu.Lock()
	r, under := t.reads[wanted]
	if !under {
		r = &read{done: make(chan struct{})}
		t.reads[wanted] = r
	}
	t.mu.Unlock()
	if under {
		select {
		case <-r.done:
			return r.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() {
		t.mu.Lock()
		delete(t.reads, wanted)
		t.mu.Unlock()
		close(r.done)
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	var s Snapshot
	if s, r.err = t.source.Find(ctx, t.id); r.err == nil {
		t.offer(&Version{Snapshot: s, whole: true})
	}
	return r.err
}
