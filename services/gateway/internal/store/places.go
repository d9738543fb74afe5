package store

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// ownersPart determines how many places one owner may hold: one in ownersPart of all places.
const ownersPart = 4

// places is a semaphore for reading lists: each list that is being read holds one place. If an
// owner requests many lists at once, the requests first wait for one of the owner's own places. So
// they do not fill the queue for the places of all users.
type places struct {
	all *semaphore.Weighted
	own int64 // places of one owner

	mu     sync.Mutex
	owners map[string]*owner // owners that have places or wait for one
}

type owner struct {
	free  *semaphore.Weighted
	users int
}

func newPlaces(n int) *places {
	return &places{all: semaphore.NewWeighted(int64(n)), own: int64(max(1, n/ownersPart)), owners: map[string]*owner{}}
}

// acquire waits for a place, and returns a function that frees it. name is the owner. It is empty
// if requests are not authenticated; then only the number of all places is a limit.
func (p *places) acquire(ctx context.Context, name string) (release func(), err error) {
	leave := func() {}
	if name != "" {
		o := p.enter(name)
		if err := o.free.Acquire(ctx, 1); err != nil {
			p.leave(name, o)
			return nil, err
		}
		leave = func() {
			o.free.Release(1)
			p.leave(name, o)
		}
	}
	if err := p.all.Acquire(ctx, 1); err != nil {
		leave()
		return nil, err
	}
	return func() {
		p.all.Release(1)
		leave()
	}, nil
}

func (p *places) enter(name string) *owner {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.owners[name]
	if o == nil {
		o = &owner{free: semaphore.NewWeighted(p.own)}
		p.owners[name] = o
	}
	o.users++
	return o
}

func (p *places) leave(name string, o *owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.users--; o.users == 0 {
		delete(p.owners, name)
	}
}
