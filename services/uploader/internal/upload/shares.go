package upload

import (
	"sync"

	"sori.internal/shared/fault"
)

// shares limits the number of concurrent fetches of one owner. Clients choose the servers from
// which recordings are fetched, and such a server may be slow. Without shares, one owner could use
// all fetches, and the jobs of other owners would fail at their deadline.
type shares struct {
	most int // largest number of concurrent fetches of one owner; 0 means no limit

	mu      sync.Mutex
	running map[string]int // by owner: number of running fetches
}

// take begins a fetch of an owner, and returns a function that ends it. It fails if the owner has
// too many running fetches, so that the event is redelivered. If owner is empty, requests are not
// authenticated, and there is no limit.
func (s *shares) take(owner string) (free func(), err error) {
	if owner == "" || s.most == 0 {
		return func() {}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[owner] >= s.most {
		return nil, &fault.Error{
			Kind: fault.Exhausted, Code: "fetches-in-hand", Logged: true, // not a failure
			Detail: "Other recordings of the owner are being fetched.",
		}
	}
	s.running[owner]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.running[owner]--; s.running[owner] == 0 {
			delete(s.running, owner)
		}
	}, nil
}
