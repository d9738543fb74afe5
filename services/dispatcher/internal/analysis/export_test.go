package analysis

import "context"

// Schedule assigns the free slots to the attempts in the queue once, as RunQueue does at each
// interval.
func (d *Dispatcher) Schedule(ctx context.Context) error { return (&scheduler{d}).schedule(ctx) }
