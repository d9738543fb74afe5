package postgres

import (
	"context"
	"sync"

	"github.com/jmoiron/sqlx"
	"golang.org/x/sync/semaphore"
)

const (
	placesPart = 2 // there is one place for so many connections
	ownersPart = 4 // one owner may hold one in so many places
)

// Places limits how many queries of one kind, such as lists, run at the same time: each holds one
// place. There are half as many places as connections, so that the other connections remain for
// other queries. If an owner requests many lists at once, the requests first wait for one of the
// owner's own places, which are a quarter of all. So they do not fill the queue for the places of
// all users.
type Places struct {
	all *semaphore.Weighted
	own int64 // places of one owner

	mu     sync.Mutex
	owners map[string]*owner // owners that have places or wait for one
}

type owner struct {
	free  *semaphore.Weighted
	users int
}

// NewPlaces makes the places of a pool of connections.
func NewPlaces(db *sqlx.DB) *Places {
	n := max(1, db.Stats().MaxOpenConnections/placesPart)
	return &Places{all: semaphore.NewWeighted(int64(n)), own: int64(max(1, n/ownersPart)), owners: map[string]*owner{}}
}

// Acquire waits for a place, and returns a function that frees it. name is the owner. It is empty
// if requests are not authenticated; then only the number of all places is a limit. Acquire fails
// with the error of ctx when ctx ends.
func (p *Places) Acquire(ctx context.Context, name string) (release func(), err error) {
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

func (p *Places) enter(name string) *owner {
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

func (p *Places) leave(name string, o *owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.users--; o.users == 0 {
		delete(p.owners, name)
	}
}
