package direct

import (
	"context"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/wait"
)

// Abort removes an upload and its bytes. It also succeeds if another call is removing the upload.
// It fails with fault.NotFound if the upload has become a job.
func (c *Core) Abort(ctx context.Context, h Handle) error {
	u, err := c.find(ctx, h)
	if err != nil {
		return err
	}
	return c.Abandon(ctx, u)
}

// Abandon is Discard for a client that gives a multipart upload up, perhaps while another call
// completes it. S3 decides which of the two calls wins: if S3 does not know the multipart upload any
// more, the other call has joined the parts. Then Abandon waits for the job, and fails with
// fault.NotFound when it has begun. Otherwise the job would have no recording.
func (c *Core) Abandon(ctx context.Context, u Upload) error {
	err := c.Bucket.AbortParts(ctx, u.Key, u.S3ID)
	if fault.Is(err, fault.NotFound) {
		err = c.awaitJob(ctx, u)
	}
	if err != nil {
		return err
	}
	return c.discardObject(ctx, u)
}

// awaitJob fails with fault.NotFound when the job of an upload has begun. It returns nil if the upload
// has no record any more, since another call has removed it, or if the job does not begin within
// joinTimeout, since the call that has joined the parts failed.
func (c *Core) awaitJob(ctx context.Context, u Upload) error {
	for began := time.Now(); time.Since(began) < joinTimeout; {
		_, found, err := c.Records.Find(ctx, u.Way(), u.Owner, u.JobID) // before the log: the record is removed after the job has begun
		if err != nil {
			return err
		}
		log, err := c.Jobs.Read(ctx, u.JobID)
		switch {
		case err != nil:
			return err
		case len(log) > 0 && !log.Erased():
			return NotFound()
		case !found || len(log) > 0:
			return nil
		}
		if err := wait.For(ctx, joinInterval); err != nil {
			return err
		}
	}
	return nil
}

// Discard removes an upload. It also removes the bytes, unless the upload has become a job that is
// not erased.
func (c *Core) Discard(ctx context.Context, u Upload) error {
	if u.S3ID != "" {
		if err := c.Bucket.AbortParts(ctx, u.Key, u.S3ID); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return c.discardObject(ctx, u)
}

// discardObject removes the object and the record of an upload. It keeps the object if the upload has
// become a job that is not erased.
func (c *Core) discardObject(ctx context.Context, u Upload) error {
	// If a call has joined the parts and then failed, there is an object, but no job.
	log, err := c.Jobs.Read(ctx, u.JobID)
	if err != nil {
		return err
	}
	if _, erased := event.Last[event.Erased](log); erased || len(log) == 0 {
		if err := c.Bucket.Remove(ctx, u.Key); err != nil {
			return err
		}
	}
	return c.forget(ctx, u)
}
