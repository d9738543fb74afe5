package query

import (
	"context"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// For a job of another owner, clients get the same answer as for a job that does not exist. The
// methods below read the record and the log in the same order in both cases, so that the response
// time does not reveal whether the job exists.

// Status returns the status of a job. It fails with fault.NotFound if the job does not exist, or if
// the principal has no access to it.
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

// CheckRead returns the error of Status, but nil for an admin, even if the job does not exist. It
// reads the record first, so that it works for recorded jobs while NATS is unavailable.
func (r *Reader) CheckRead(ctx context.Context, p principal.Principal, id string) error {
	if p.May(principal.Admin) {
		return nil
	}
	_, err := r.Status(ctx, p, id)
	return err
}

// CheckControl has the same outcome as CheckRead, but reads the log first, so that jobs can be
// controlled while the database is unavailable. If the log has no received event, because the job
// is erased or its log has expired, it reads the record.
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

// accepted reports whether a job's log has a received event, and the principal has access to the
// job.
func (r *Reader) accepted(ctx context.Context, p principal.Principal, id string) (bool, error) {
	received, _, err := r.received.Received(ctx, id)
	return received != nil && p.Sees(received.Owner), err
}
