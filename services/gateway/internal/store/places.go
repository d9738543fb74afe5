package store

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// ownersPart limits the places of one owner: it may have one in ownersPart of all places.
const ownersPart = 4

// places limits how many lists are read at the same time, by all users and by one owner. An owner
// who requests many lists at once waits for a place of the owner's share first, and does not fill
// the queue for the places of all users.
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

// acquire waits for a place, and returns a function that frees it. Without a name, only the places of
// all are limited: requests are not authenticated then.
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
