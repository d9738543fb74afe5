package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"golang.org/x/sync/semaphore"
)

const (
	placesPart = 2 // number of connections for which there is one place
	ownersPart = 4 // the places of one owner are all places divided by this number, at least one

	pausePart = 3                      // after a query, the owner's place stays taken for this number times the duration of the query
	maxPause  = 250 * time.Millisecond // the longest pause
)

// Places limits how many queries of one kind, such as lists, run at the same time: each holds one
// place. There are half as many places as connections, so that the other connections remain for
// other queries. If an owner requests many lists at once, the requests first wait for one of the
// owner's own places, which are a quarter of all. So they do not fill the queue for the places of
// all users.
//
// After a query, the owner's place stays taken for a while (see Acquire). Otherwise an owner who
// requests lists without end would keep a processor of the database and one of the service busy,
// and every request of other users would take longer.
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
//
// The returned function frees the place for other owners at once. The owner can use it again after
// three times the time for which it was held, but at most 250 ms. Therefore short queries that
// follow one another in the same place use at most a quarter of the time.
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
	began := time.Now()
	return func() {
		p.all.Release(1)
		if name != "" {
			time.AfterFunc(min(pausePart*time.Since(began), maxPause), leave)
		}
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
