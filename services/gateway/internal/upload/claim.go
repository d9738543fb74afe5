package upload

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// keyAge is how long a key is kept from its last upload on.
const keyAge = 24 * time.Hour

// inUsePause is when a client whose key is in use may come again.
const inUsePause = 2 * time.Second

// Claim is what a key stands for: an upload that is under way, or the job that
// one became.
type Claim struct {
	Key    Key
	Token  int64
	Job    string
	Holder string // a name for one upload, unlike any other
	SHA256 string // hexadecimal, of the accepted recording; empty until there is one
}

// Claims keeps what keys stand for, the same for every copy of the gateway. Time
// is the keeper's own: the clocks of copies are never compared.
type Claims interface {
	// Claim makes wanted what its key stands for, for as long as the lease, where
	// the key is new or was kept for long enough. Where the lease of an upload to
	// the same token has run out, wanted takes it over, with its job. Otherwise
	// nothing is changed. It returns what the key stands for then, without a
	// holder where that changed in the same moment.
	Claim(ctx context.Context, wanted Claim, lease, keep time.Duration) (Claim, error)
	// Renew makes the lease of a claim last from now, where it is still held.
	Renew(ctx context.Context, c Claim, lease time.Duration) error
	// Finish records what a claim became, where it is still held.
	Finish(ctx context.Context, c Claim, keep time.Duration) error
	// Free forgets a claim that became nothing, where it is still held.
	Free(ctx context.Context, c Claim) error
}

// acceptOnce takes in an upload that has a key, and does for all that have the
// same key what is done for one.
//
// A lease can run out under an upload that lives, since the database may be away
// for as long. Two uploads may therefore work at one job: each has an entry of
// staging to itself, and the log of the job tells which of them it became.
func (c *Core) acceptOnce(ctx context.Context, key Key, received event.Received, rec *recording) (Accepted, error) {
	claim, received, err := c.claim(ctx, key, received)
	if err != nil {
		return Accepted{}, err
	}
	if claim.SHA256 != "" {
		return replay(claim, rec)
	}
	told, doubt, err := c.openHeld(ctx, claim, received, rec)
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		c.letGo(ctx, claim, doubt || received.Entry != "")
		return Accepted{}, err
	}
	claim.SHA256 = told.SHA256
	c.finish(ctx, claim)
	if told.Staged().Entry != received.Staged().Entry {
		return replay(claim, rec)
	}
	return Accepted{JobID: claim.Job}, nil
}

// claim takes the key for the upload that received is about. The claim that it
// returns has a SHA256 where the key already stands for a job. Where it takes
// over what a crash has left, received is of that job, with an entry of its own.
func (c *Core) claim(ctx context.Context, key Key, received event.Received) (Claim, event.Received, error) {
	holder, err := event.NewJobID() // any id will do
	if err != nil {
		return Claim{}, received, err
	}
	wanted := Claim{Key: key, Token: received.TokenID, Job: received.JobID, Holder: holder}
	claim, err := c.claims.Claim(ctx, wanted, c.limits.Lease, keyAge)
	switch {
	case err != nil:
		return Claim{}, received, fmt.Errorf("claim a key: %w", err)
	case claim.Token != wanted.Token:
		return Claim{}, received, reused("The Idempotency-Key was used for another token.")
	case claim.Holder != wanted.Holder && claim.SHA256 == "":
		return Claim{}, received, &fault.Error{
			Kind: fault.Conflict, Code: "idempotency-key-in-use", RetryAfter: inUsePause,
			Detail: "An upload with the same Idempotency-Key is under way. Please try again.",
		}
	case claim.Holder != wanted.Holder || claim.Job == wanted.Job:
		return claim, received, nil
	}
	claim, received, err = c.takeOver(ctx, claim, received)
	if err != nil {
		c.letGo(context.WithoutCancel(ctx), claim, true)
	}
	return claim, received, err
}

// takeOver finds out what became of the upload that held the claim before: its
// crash may have come between the event and the answer.
func (c *Core) takeOver(ctx context.Context, claim Claim, received event.Received) (Claim, event.Received, error) {
	log, err := c.jobLog.Log(ctx, claim.Job)
	if err != nil {
		return claim, received, fmt.Errorf("take over job %s: %w", claim.Job, err)
	}
	if len(log) > 0 {
		told, err := opening(claim.Job, log)
		if err != nil {
			return claim, received, err
		}
		claim.SHA256 = told.SHA256
		c.finish(ctx, claim)
		return claim, received, nil
	}
	received.JobID = claim.Job
	received.Entry, err = event.UploadEntry(claim.Job)
	return claim, received, err
}

// openHeld opens the job of a claim while it renews the lease. It returns the
// event that opened the job, which may be another upload's; or whether there may
// be one in spite of the failure.
func (c *Core) openHeld(ctx context.Context, claim Claim, received event.Received, rec *recording) (told event.Received, doubt bool, err error) {
	defer c.renewing(ctx, claim)()
	received, err = c.stage(ctx, received, rec)
	if err != nil {
		return told, false, err
	}
	ctx = context.WithoutCancel(ctx)
	if err := c.open(ctx, received); err != nil {
		return told, !refused(err), err
	}
	// The event has one id whoever publishes it, so a success may be another's.
	log, err := c.jobLog.Log(ctx, claim.Job)
	if err != nil {
		return told, true, fmt.Errorf("confirm job %s: %w", claim.Job, err)
	}
	if told, err = opening(claim.Job, log); err != nil {
		return told, true, err
	}
	if told.Staged().Entry != received.Staged().Entry {
		c.unstage(ctx, received)
	}
	return told, false, nil
}

// opening is the event that opened a job. A log that is kept for a short time only
// may have lost it; that of an erased job does not hold it any more.
func opening(job string, log event.Log) (event.Received, error) {
	received, ok := event.Last[event.Received](log)
	if !ok && log.Erased() {
		return received, erased()
	}
	if !ok {
		return received, fault.Away("message bus", fmt.Errorf("the log of job %s does not begin with received", job))
	}
	return received, nil
}

// renewing renews the lease of a claim until stop is called, which waits. That a
// claim was lost stops nothing: the log decides in the end.
func (c *Core) renewing(ctx context.Context, claim Claim) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(c.limits.Lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if err := c.claims.Renew(ctx, claim, c.limits.Lease); err != nil && ctx.Err() == nil {
				zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, claim.Job).Msg("lease not renewed")
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// finish records what a claim became. Where it cannot, the next upload with the
// key finds it in the log, when the lease is over.
func (c *Core) finish(ctx context.Context, claim Claim) {
	if err := c.claims.Finish(ctx, claim, keyAge); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, claim.Job).Msg("claim left to the log")
	}
}

// letGo ends the lease of a claim that became nothing. Where there may be, or
// may come to be, an event of its job, the key goes on standing for that job:
// else the next upload would open a second one.
func (c *Core) letGo(ctx context.Context, claim Claim, keepJob bool) {
	var err error
	if keepJob {
		err = c.claims.Renew(ctx, claim, 0)
	} else {
		err = c.claims.Free(ctx, claim)
	}
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, claim.Job).Msg("claim left to its lease")
	}
}

// replay reads a recording that was accepted before, to know that it is the
// same. Nothing of it is stored.
func replay(claim Claim, rec *recording) (Accepted, error) {
	if _, err := io.Copy(io.Discard, rec); err != nil {
		return Accepted{}, fmt.Errorf("read the recording again: %w", err)
	}
	if rec.sum() != claim.SHA256 {
		return Accepted{}, reused("The Idempotency-Key was used for another file.")
	}
	return Accepted{JobID: claim.Job, Replayed: true}, nil
}

// erased is the failure of an upload whose key stands for a job that is gone.
func erased() error {
	return fault.New(fault.Gone, "job-erased", "The job of this Idempotency-Key was deleted.")
}

func reused(detail string) error {
	return fault.New(fault.Invalid, "idempotency-key-reused", detail)
}
