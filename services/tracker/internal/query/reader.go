// Package query reads jobs for a principal: the newest version, the recording, and lists.
package query

import (
	"context"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// Rows finds records.
type Rows interface {
	// Find returns the newest version of a job that clients may see. It returns false if the job is
	// not recorded.
	Find(ctx context.Context, id string) (job.Snapshot, bool, error)
	// StatusFor returns the status of a job. It returns false if the job is not recorded, or if the
	// principal has no access to it.
	StatusFor(ctx context.Context, p principal.Principal, id string) (job.Status, bool, error)
	// Recording returns the location of a job's recording. The key is empty if the recording is not
	// stored, or if the job is not recorded.
	Recording(ctx context.Context, id string) (Recording, error)
}

// ReceivedLookup finds the received events of jobs.
type ReceivedLookup interface {
	// Received returns the event `received`, with which a job's log begins, and the time of the
	// event. It returns nil if the log has no received event, or if the event cannot be decoded.
	Received(ctx context.Context, id string) (*event.Received, time.Time, error)
}

// Reader finds jobs by id.
type Reader struct {
	rows     Rows
	received ReceivedLookup
}

// NewReader makes a reader.
func NewReader(rows Rows, received ReceivedLookup) *Reader {
	return &Reader{rows: rows, received: received}
}

// Find returns the newest committed version of a job. If the job is accepted but not recorded yet,
// Find returns version 0, so that a client never gets 404 after its upload got 202. It fails with
// fault.NotFound if the job does not exist.
func (r *Reader) Find(ctx context.Context, id string) (job.Snapshot, error) {
	s, found, err := r.rows.Find(ctx, id)
	if err != nil || found {
		return s, err
	}
	received, at, err := r.received.Received(ctx, id)
	if err != nil {
		return job.Snapshot{}, err
	}
	if received == nil {
		return job.Snapshot{}, fault.JobNotFound()
	}
	return job.FromReceived(*received, at), nil
}
