package upload

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/wait"
)

// keyRetention is how long a key is kept after its last upload.
const keyRetention = 24 * time.Hour

// inUseRetryAfter is the Retry-After of an upload whose key is in use.
const inUseRetryAfter = 2 * time.Second

// Claim is the use of an idempotency key: either by an upload that is under way, or by the job that
// an upload has begun.
type Claim struct {
	Key    Key
	Token  int64
	Job    string
	Holder string // unique id of the upload that holds the key
	SHA256 string // hash of the accepted recording or fingerprint of its source, in hexadecimal; empty while no upload is accepted
}

// Claims stores claims for all replicas of the gateway. It uses only the clock of the store: the
// clocks of replicas are never compared.
type Claims interface {
	// Claim claims the key in wanted. The claim is valid for the duration lease and can be renewed;
	// the store forgets the key after the duration keep. Claim has four outcomes:
	//
	//  1. The key is new or was forgotten: wanted is stored and returned.
	//  2. Another upload to the same token had the key, and its lease ended before it was finished:
	//     wanted is stored with the job of that upload, and returned.
	//  3. Another upload or an accepted job has the key: nothing is changed, and the other claim is
	//     returned.
	//  4. Another upload had the key, but freed it while Claim looked for its claim: a claim
	//     without a holder is returned.
	Claim(ctx context.Context, wanted Claim, lease, keep time.Duration) (Claim, error)
	// Renew extends the lease of a claim from now, if no other upload has taken over the claim.
	Renew(ctx context.Context, c Claim, lease time.Duration) error
	// Finish records the accepted recording of a claim, if no other upload has taken over the
	// claim.
	Finish(ctx context.Context, c Claim, keep time.Duration) error
	// Free deletes a claim whose upload has failed, if no other upload has taken over the claim.
	Free(ctx context.Context, c Claim) error
}

// acceptOnce accepts an upload with an idempotency key. All uploads with the same key become one
// job.
//
// The lease of an upload can end while the upload continues, if the database is unavailable for the
// duration of the lease. So two uploads may work on one job. Each of them has its own staging
// entry, and the log of the job decides which of the two uploads becomes the job.
func (c *Core) acceptOnce(ctx context.Context, key Key, received event.Received, given content) (Accepted, error) {
	claim, received, err := c.claim(ctx, key, received)
	if err != nil {
		return Accepted{}, err
	}
	if claim.SHA256 != "" {
		return c.replay(claim, given)
	}
	stored, uncertain, err := c.beginClaimed(ctx, claim, received, given)
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		c.release(ctx, claim, uncertain || received.Entry != "")
		return Accepted{}, err
	}
	if claim.SHA256, err = c.identityOf(stored); err != nil {
		c.release(ctx, claim, true)
		return Accepted{}, err
	}
	c.finish(ctx, claim)
	if stored.Staged().Entry != received.Staged().Entry {
		return c.replay(claim, given)
	}
	return Accepted{JobID: claim.Job}, nil
}

// claim claims the key for an upload. The returned claim has a SHA256 if the key already belongs to
// a job. If the claim takes over the job of an upload that died, the returned event has the id of
// that job and a new staging entry.
func (c *Core) claim(ctx context.Context, key Key, received event.Received) (Claim, event.Received, error) {
	holder, err := event.NewJobID() // a job id is used only because it is unique
	if err != nil {
		return Claim{}, received, err
	}
	wanted := Claim{Key: key, Token: received.TokenID, Job: received.JobID, Holder: holder}
	claim, err := c.claims.Claim(ctx, wanted, c.limits.Lease, keyRetention)
	switch {
	case err != nil:
		return Claim{}, received, fmt.Errorf("claim a key: %w", err)
	case claim.Token != wanted.Token:
		return Claim{}, received, reused("The Idempotency-Key was used for another token.")
	case claim.Holder != wanted.Holder && claim.SHA256 == "":
		return Claim{}, received, &fault.Error{
			Kind: fault.Conflict, Code: "idempotency-key-in-use", RetryAfter: inUseRetryAfter,
			Detail: "An upload with the same Idempotency-Key is under way. Please try again.",
		}
	case claim.Holder != wanted.Holder || claim.Job == wanted.Job:
		return claim, received, nil
	}
	claim, received, err = c.takeOver(ctx, claim, received)
	if err != nil {
		c.release(context.WithoutCancel(ctx), claim, true)
	}
	return claim, received, err
}

// takeOver takes over the job of an upload that died. It reads the log first: the upload may have
// died after it appended the event and before it answered.
func (c *Core) takeOver(ctx context.Context, claim Claim, received event.Received) (Claim, event.Received, error) {
	log, err := c.jobLog.Read(ctx, claim.Job)
	if err != nil {
		return claim, received, fmt.Errorf("take over job %s: %w", claim.Job, err)
	}
	if len(log) > 0 {
		stored, err := receivedOf(claim.Job, log)
		if err != nil {
			return claim, received, err
		}
		if claim.SHA256, err = c.identityOf(stored); err != nil {
			return claim, received, err
		}
		c.finish(ctx, claim)
		return claim, received, nil
	}
	received.JobID = claim.Job
	received.Entry, err = event.UploadEntry(claim.Job)
	return claim, received, err
}

// beginClaimed begins the job of a claim, and renews the lease meanwhile. It returns the event that
// began the job, which may be the event of another upload. If beginClaimed fails and uncertain is
// true, the event may be stored nevertheless.
func (c *Core) beginClaimed(
	ctx context.Context, claim Claim, received event.Received, given content,
) (stored event.Received, uncertain bool, err error) {
	defer c.renewLease(ctx, claim)()
	received, reserved, err := given.stage(ctx, c, received)
	if err != nil {
		return stored, false, err
	}
	ctx = context.WithoutCancel(ctx)
	if err := c.appendReceived(ctx, received, reserved); err != nil {
		return stored, !notStored(err), err
	}
	// The event that begins a job has the same id from every upload, and NATS drops a duplicate. So
	// the event in the log may be that of another upload.
	log, err := c.jobLog.Read(ctx, claim.Job)
	if err != nil {
		return stored, true, fmt.Errorf("confirm job %s: %w", claim.Job, err)
	}
	if stored, err = receivedOf(claim.Job, log); err != nil {
		return stored, true, err
	}
	if stored.Staged().Entry != received.Staged().Entry {
		c.unstage(ctx, received)
	}
	return stored, false, nil
}

// receivedOf returns the event that began a job. It fails if the log has no such event: the job is
// erased, or a short retention has deleted the event.
func receivedOf(job string, log event.Log) (event.Received, error) {
	received, ok := event.Last[event.Received](log)
	if !ok && log.Erased() {
		return received, erased()
	}
	if !ok {
		return received, fault.Unreachable("message bus", fmt.Errorf("the log of job %s does not begin with received", job))
	}
	return received, nil
}

// renewLease renews the lease of a claim until stop is called. stop waits for the last renewal. An
// upload that loses its claim continues: the log decides which upload becomes the job.
func (c *Core) renewLease(ctx context.Context, claim Claim) (stop func()) {
	return wait.InBackground(ctx, c.limits.Lease/3, func(ctx context.Context) {
		if err := c.claims.Renew(ctx, claim, c.limits.Lease); err != nil && ctx.Err() == nil {
			zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, claim.Job).Msg("lease not renewed")
		}
	})
}

// finish records the accepted recording of a claim. If this fails, the next upload with the key
// finds the recording in the log after the lease has ended.
func (c *Core) finish(ctx context.Context, claim Claim) {
	if err := c.claims.Finish(ctx, claim, keyRetention); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, claim.Job).Msg("claim not finished")
	}
}

// release ends the lease of a claim whose upload has failed. If keepJob is true, the event of the
// job may be stored. Then the key keeps the job: otherwise the next upload would begin a second
// job.
func (c *Core) release(ctx context.Context, claim Claim, keepJob bool) {
	var err error
	if keepJob {
		err = c.claims.Renew(ctx, claim, 0)
	} else {
		err = c.claims.Free(ctx, claim)
	}
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, claim.Job).Msg("claim not released")
	}
}

// replay answers a repeated request. It compares its content with the accepted content by their
// hashes, and stores nothing.
func (c *Core) replay(claim Claim, given content) (Accepted, error) {
	sum, err := given.identify(c)
	if err != nil {
		return Accepted{}, fmt.Errorf("read the repeated recording: %w", err)
	}
	if sum != claim.SHA256 {
		return Accepted{}, reused("The Idempotency-Key was used for another file.")
	}
	return Accepted{JobID: claim.Job, Replayed: true}, nil
}

// erased returns the failure of an upload whose key belongs to an erased job.
func erased() error {
	return fault.New(fault.Gone, "job-erased", "The job of this Idempotency-Key was deleted.")
}

// reused returns the failure of an upload that differs from the first upload with its key.
func reused(detail string) error {
	return fault.New(fault.Invalid, "idempotency-key-reused", detail)
}
