// Package watch distributes new versions of jobs to the streams of this replica.
//
// The versions that a watching client sees only grow, up to the last one. A slow client does not
// delay others: it misses intermediate versions.
package watch

import (
	"context"
	"sync"

	"sori.internal/services/tracker/internal/job"
)

// Subscriber subscribes to the live updates of a job that the replicas of the tracker publish.
type Subscriber interface {
	Subscribe(ctx context.Context, id string) error // returns when the subscription is in effect
	Unsubscribe(id string) error
}

// Source reads the newest committed version of a job.
type Source interface {
	Find(ctx context.Context, id string) (job.Snapshot, error)
}

// Hub delivers live updates to the watches of this process. It subscribes only to the jobs that are
// watched in this process, and keeps only the newest version of each.
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

// Watch begins to watch a job. The caller must close the watch. Watch subscribes before the row is
// read, so that the watch misses no change.
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

// leave removes a topic with its last watch. It unsubscribes under the lock, before another Watch
// can make the topic and subscribe again.
func (h *Hub) leave(t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.watches--; t.watches == 0 {
		delete(h.topics, t.id)
		_ = h.subscriber.Unsubscribe(t.id) // a live update of an unknown topic is dropped
	}
}

// Deliver passes a live update to the watches of the job.
func (h *Hub) Deliver(s job.Snapshot) {
	h.mu.Lock()
	t := h.topics[s.JobID]
	h.mu.Unlock()
	if t != nil {
		t.update(&Version{Snapshot: s, complete: s.Status != job.Completed || s.Result != ""})
	}
}

// Watched returns the number of jobs that are watched.
func (h *Hub) Watched() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.topics)
}

// Watch is one client's subscription to a job.
type Watch struct {
	hub    *Hub
	topic  *topic
	closed sync.Once
}

// Close ends the watch. It may be called twice.
func (w *Watch) Close() { w.closed.Do(func() { w.hub.leave(w.topic) }) }

// Current returns the newest known version, with its result, and a channel that is closed when
// there is a newer version. It reads the row only if no version is known, or if the known version
// lacks its result. The channel is valid even if Current fails.
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

// Refresh reads the row, in case a live update was lost.
func (w *Watch) Refresh(ctx context.Context) error { return w.topic.read(ctx, anyVersion) }
