package query

import (
	"context"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// A job of another owner is answered as a job that does not exist, whatever its state. The methods
// below read the record and the log in the same order whether or not the job exists, so that the
// time of the answer does not reveal whether it exists.

// Status returns the status of a job. It fails with fault.NotFound if there is no such job, or if
// the principal may not know of it.
func (r *Reader) Status(ctx context.Context, p principal.Principal, id string) (job.Status, error) {
	status, found, err := r.rows.StatusFor(ctx, p, id)
	if err != nil || found {
		return status, err
	}
	if found, err = r.accepted(ctx, p, id); err != nil {
		return "", err
	}
	if !found {
		return "", fault.JobNotFound()
	}
	return job.Processing, nil
}

// CheckRead fails like Status, except for an admin, for whom it returns nil even if the job does
// not exist. It reads the record first, so that it finds recorded jobs while the bus is
// unavailable.
func (r *Reader) CheckRead(ctx context.Context, p principal.Principal, id string) error {
	if p.May(principal.Admin) {
		return nil
	}
	_, err := r.Status(ctx, p, id)
	return err
}

// CheckControl fails like CheckRead. It reads the log first, so that jobs can be controlled while
// the database is unavailable. If the log has no received event, since the job is erased or its log
// has expired, it reads the record.
func (r *Reader) CheckControl(ctx context.Context, p principal.Principal, id string) error {
	if p.May(principal.Admin) {
		return nil
	}
	found, err := r.accepted(ctx, p, id)
	if err != nil || found {
		return err
	}
	_, found, err = r.rows.StatusFor(ctx, p, id)
	if err == nil && !found {
		err = fault.JobNotFound()
	}
	return err
}

// accepted reports whether the log has the received event of a job that a principal may know of.
func (r *Reader) accepted(ctx context.Context, p principal.Principal, id string) (bool, error) {
	received, _, err := r.received.Received(ctx, id)
	return received != nil && p.Sees(received.Owner), err
}
