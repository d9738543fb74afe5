package upload

import (
	"sync"

	"sori.internal/shared/fault"
)

// shares limits how many recordings of one owner are fetched at the same time. The servers that recordings
// are fetched from are chosen by clients, and may be as slow as the limits allow: without shares, one
// owner could take all places, and the jobs of others would fail at their deadline.
type shares struct {
	most int // largest number of fetches of one owner; 0: any number

	mu      sync.Mutex
	running map[string]int // number of fetches by owner
}

// take takes a place of an owner, and returns the function that frees it. If the owner has its share, take
// fails, and the event is delivered again. Without an owner, requests are not authenticated, and nothing
// is limited.
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
