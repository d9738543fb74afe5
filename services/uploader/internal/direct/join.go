package direct

import (
	"context"
	"time"

	"sori.internal/shared/fault"
	"sori.internal/shared/wait"
)

// Join joins the parts of an upload at S3 and begins its job. It may be called again, even
// concurrently. While S3 joins the parts for one call, some S3 servers answer another call with an
// internal error, which Join tolerates.
func (c *Core) Join(ctx context.Context, u Upload, parts []Part) error {
	err := c.Bucket.CompleteParts(ctx, u.Key, u.S3ID, parts)
	if err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Unavailable) {
		return c.joinedBefore(ctx, u, err)
	}
	joined := c.Joined(ctx, u)
	if fault.Is(joined, fault.Unavailable) && fault.Is(err, fault.Unavailable) { // nobody joins them
		return err
	}
	return joined
}

const (
	joinTimeout  = 5 * time.Second // how long a call waits for the object that another call makes
	joinInterval = 100 * time.Millisecond
)

// Joined begins the job of an upload whose parts are joined, or whose multipart upload S3 does not
// know any more.
func (c *Core) Joined(ctx context.Context, u Upload) error {
	err := c.AwaitJoined(ctx, u, func() error { return c.begin(ctx, u) })
	if fault.Is(err, fault.NotFound) {
		_, err = c.completed(ctx, Handle{Owner: u.Owner, Key: u.Key})
	}
	return err
}

// AwaitJoined calls the function use as long as use fails with fault.NotFound, which means that the
// object does not exist yet. AwaitJoined is used if S3 does not know the multipart upload any more:
// another call has joined the parts, or is joining them, and the object will appear soon.
// AwaitJoined fails with fault.NotFound if the upload has no record any more, and with
// fault.Unavailable if the object does not appear in time.
func (c *Core) AwaitJoined(ctx context.Context, u Upload, use func() error) error {
	for began := time.Now(); time.Since(began) < joinTimeout; {
		if err := use(); !fault.Is(err, fault.NotFound) {
			return err
		}
		_, found, err := c.Records.Find(ctx, u.Way(), u.Owner, u.JobID)
		if err != nil {
			return err
		}
		if !found {
			return NotFound()
		}
		if err := wait.For(ctx, joinInterval); err != nil {
			return err
		}
	}
	return beingCompleted()
}
