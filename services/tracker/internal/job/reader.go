package job

import (
	"context"
	"time"

	"sori.internal/shared/event"
)

// Arrivals finds jobs where they begin.
type Arrivals interface {
	// Received returns the event that opened a job's log, and when; false where
	// there is none.
	Received(ctx context.Context, id string) (event.Received, time.Time, bool, error)
}

// Reader answers what a job is at now.
type Reader struct {
	rows     Rows
	arrivals Arrivals
}

// NewReader makes a reader.
func NewReader(rows Rows, arrivals Arrivals) *Reader { return &Reader{rows: rows, arrivals: arrivals} }

// Find returns the newest committed version of a job. One that is accepted and
// not yet recorded is version 0: after a 202 there is no 404.
func (r *Reader) Find(ctx context.Context, id string) (Snapshot, error) {
	s, found, err := r.rows.Find(ctx, id)
	if err != nil || found {
		return s, err
	}
	received, at, found, err := r.arrivals.Received(ctx, id)
	if err != nil {
		return Snapshot{}, err
	}
	if !found {
		return Snapshot{}, NotFound()
	}
	return Arrived(received, at), nil
}
