// Package watch distributes new versions of jobs to the streams of this replica.
//
// The version that a client sees only grows, and it reaches the last one. A slow client does not
// delay other clients: it misses intermediate versions.
package watch

import (
	"context"
	"sync"
	"time"

	"sori.internal/services/tracker/internal/job"
)

// Subscriber subscribes to the live updates of a job.
type Subscriber interface {
	Subscribe(ctx context.Context, id string) error // returns when the subscription is active
	Unsubscribe(id string) error
}

// Source reads the newest committed version of a job.
type Source interface {
	Find(ctx context.Context, id string) (job.Snapshot, error)
}

// Hub delivers live updates to the watches of this process. It subscribes only to jobs that have a
// watch, and stores only the newest version of each job.
type Hub struct {
	subscriber Subscriber
	source     Source

	mu     sync.Mutex
	topics map[string]*topic
}

// NewHub makes a hub.
func NewHub(subscriber Subscriber, source Source) *Hub {
	return &Hub{subscriber: subscriber, source: source, topics: map[string]*topic{}}
}

// Watch makes a watch of a job, which the caller must close. The watch misses no change, since
// Watch subscribes to live updates before the record is read.
func (h *Hub) Watch(ctx context.Context, id string) (*Watch, error) {
	t := h.join(id)
	if err := t.subscribe(ctx, h.subscriber); err != nil {
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
		t = newTopic(id, h.source)
		h.topics[id] = t
	}
	t.watches++
	return t
}

// leave removes a watch from a topic, and the topic with its last watch. It unsubscribes while it
// holds the lock, so that a concurrent Watch of the same job subscribes afterwards.
func (h *Hub) leave(t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.watches--; t.watches == 0 {
		delete(h.topics, t.id)
		_ = h.subscriber.Unsubscribe(t.id) // an error is ignored, since Deliver drops updates of unknown topics
	}
}

// Deliver delivers a new version to the watches of the job.
func (h *Hub) Deliver(s job.Snapshot) {
	h.mu.Lock()
	t := h.topics[s.JobID]
	h.mu.Unlock()
	if t != nil {
		t.update(&Version{Snapshot: s, complete: s.Status != job.Completed || s.Result != ""})
	}
}

// Watched returns the number of jobs that have a watch.
func (h *Hub) Watched() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.topics)
}

// Watch is one client's view of the newest version of a job.
type Watch struct {
	hub    *Hub
	topic  *topic
	closed sync.Once
}

// Close ends the watch. Calling Close again has no effect.
func (w *Watch) Close() { w.closed.Do(func() { w.hub.leave(w.topic) }) }

// Current returns the newest known version, with its result, and a channel that is closed when a
// newer version is known. It reads the record only if no version is known, or if the known version
// lacks its result. The channel is valid even if Current returns an error.
func (w *Watch) Current(ctx context.Context) (*Version, <-chan struct{}, error) {
	for {
		v, changed := w.topic.latest()
		if v != nil && v.complete {
			return v, changed, nil
		}
		wanted := anyVersion
		if v != nil {
			wanted = v.Version
		}
		if err := w.topic.read(ctx, wanted); err != nil {
			return nil, changed, err
		}
	}
}

// Refresh reads the record, in case a live update was lost.
func (w *Watch) Refresh(ctx context.Context) error { return w.topic.read(ctx, anyVersion) }

// The time limits of operations for which all watches of a job wait.
const (
	subscribeTimeout = 250 * time.Millisecond // short, since streams can read the record without live updates
	readTimeout      = 5 * time.Second
)

// anyVersion is the argument of read for the newest version, whatever its number is.
const anyVersion int64 = -1

// topic is one watched job.
type topic struct {
	id      string
	source  Source
	watches int // guarded by Hub.mu

	setup      sync.Mutex
	subscribed bool

	mu      sync.Mutex
	newest  *Version
	changed chan struct{} // closed when newest is replaced
	reads   map[int64]*read
}

// read is a read of the record. All callers that need the same version share it.
type read struct {
	done chan struct{}
	err  error
}

func newTopic(id string, source Source) *topic {
	return &topic{id: id, source: source, changed: make(chan struct{}), reads: map[int64]*read{}}
}

// subscribe subscribes to the live updates of the job, unless the topic is subscribed already. It
// returns when the subscription is active.
func (t *topic) subscribe(ctx context.Context, s Subscriber) error {
	t.setup.Lock()
	defer t.setup.Unlock()
	if t.subscribed {
		return nil
	}
	// The subscription is for all watches of the topic, so it must continue if the first client
	// disconnects.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), subscribeTimeout)
	defer cancel()
	if err := s.Subscribe(ctx, t.id); err != nil {
		return err
	}
	t.subscribed = true
	return nil
}

func (t *topic) latest() (*Version, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest, t.changed
}

// update replaces newest by a newer version. It also replaces newest if it lacks the result, and v
// is the same version with the result.
func (t *topic) update(v *Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.newest; n != nil && (v.Version < n.Version || v.Version == n.Version && (n.complete || !v.complete)) {
		return
	}
	t.newest = v
	close(t.changed)
	t.changed = make(chan struct{})
}

// read reads the record and updates the topic. If several callers want the same version at the same
// time, the first caller reads for all. Each of the other callers returns early if its context
// ends.
func (t *topic) read(ctx context.Context, wanted int64) error {
	t.mu.Lock()
	r, running := t.reads[wanted]
	if !running {
		r = &read{done: make(chan struct{})}
		t.reads[wanted] = r
	}
	t.mu.Unlock()
	if running {
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
	s, err := t.source.Find(ctx, t.id)
	if err == nil {
		t.update(&Version{Snapshot: s, complete: true})
	}
	r.err = err
	return err
}
