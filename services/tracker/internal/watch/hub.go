// Package watch distributes new versions of jobs to the streams of this replica.
//
// The version that a client sees only grows, and it reaches the last one. A slow client does not
// delay other clients: it misses intermediate versions.
package watch

import (
	"context"
	"sync"

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
