package ratelimit

import "math"

// Clients returns the number of clients that are remembered.
func (r *Rate) Clients() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.clients)
}

// Clients returns the number of clients with operations at this replica, and the number of clients
// with operations at other replicas.
func (c *Concurrency) Clients() (here, elsewhere int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.held) + len(c.changed), len(c.others)
}

// Key returns the key of a client, as messages have it.
func (s *Set) Key(client string) string {
	text, err := s.secret.key(client).MarshalText()
	if err != nil {
		panic(err)
	}
	return string(text)
}

// NeverExpire makes the exchange remember replicas that have not reported anything for a long time.
func (x *Exchange) NeverExpire() { x.expiry = math.MaxInt }

// Report publishes a message, as Run does at each interval.
func (x *Exchange) Report() { x.report(nil) } //nolint:staticcheck // the context is not used

// Expire undoes NeverExpire.
func (x *Exchange) Expire() { x.expiry = expiry }
