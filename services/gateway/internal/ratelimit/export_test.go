package ratelimit

// Clients returns the number of clients that are remembered.
func (r *Rate) Clients() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.clients)
}
