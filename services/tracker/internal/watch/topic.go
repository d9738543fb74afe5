package watch

import (
	"context"
	"sync"
	"time"
)

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
