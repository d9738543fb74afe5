// Package upload is the gateway's core: how a recording that a client sends
// becomes an accepted job.
//
// It guarantees that a job is accepted only when its bytes and its event are
// durable, and that the bytes are those of a whole request: the event is
// published after the multipart body was read to its closing boundary and to
// its declared length. An upload that fails at any earlier point publishes
// nothing and leaves nothing behind. Uploads with one idempotency key become one
// job, whichever copies take them and whichever of them dies.
//
// Clients are not trusted with memory. However large a body is, however many
// parts it has and however long their headers are, an upload holds a head of the
// recording and one chunk of staging; how many run at once is bounded too.
package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// References are a token's reference files, as the catalogue holds them; empty
// where it has none.
type References struct {
	TextGridURL string
	PitchURL    string
}

// Tokens knows the tokens.
type Tokens interface {
	// References fails with fault.NotFound where there is no such token.
	References(ctx context.Context, token int64) (References, error)
}

// Staging takes the bytes. An entry appears whole or not at all.
type Staging interface {
	Stage(ctx context.Context, entry string, r io.Reader) (event.Staged, error)
	Unstage(ctx context.Context, entry string) error
}

// JobLog is the log of the jobs.
type JobLog interface {
	Append(ctx context.Context, e event.Event, after uint64) (uint64, error)
	Log(ctx context.Context, job string) (event.Log, error)
}

// Usage knows how full the log and staging are.
type Usage interface {
	// Fullest returns the used part of the fuller one, from 0 to 1, as of about a second ago.
	Fullest() float64
}

// Limits bound what is taken.
type Limits struct {
	MaxBytes   int64 // of one recording
	Concurrent int   // uploads at once

	// Reserve is the part of the log and of staging that uploads leave to the jobs
	// that were accepted. Without it they could not go on, nor even fail, where
	// uploads have taken all there is.
	Reserve float64

	// Lease is how long a key stays taken when its upload dies without a word.
	Lease time.Duration
}

// MaxBody is the longest request body that can hold a recording within the
// limits.
func (l Limits) MaxBody() int64 { return l.MaxBytes + envelopeSize }

// Request is an upload as it arrives.
type Request struct {
	TokenID       int64
	ContentType   string
	ContentDigest string // the header of RFC 9530, empty where absent

	// ContentEncoding is the header of that name, its lines joined by commas.
	ContentEncoding string

	Length int64 // of the body as declared, -1 where it is not

	// IdempotencyKey is the lines of the header of that name, none where absent.
	IdempotencyKey []string

	// Body must end with io.EOF only where the request's body does: one that is
	// cut short must fail, whether its length was declared or not.
	Body io.Reader
}

// Accepted is what became of a request.
type Accepted struct {
	JobID      string
	References References
	Replayed   bool // an earlier request with the same key was accepted
}

// Dependencies are what a core works with.
type Dependencies struct {
	Tokens  Tokens
	Staging Staging
	JobLog  JobLog
	Claims  Claims
	Usage   Usage
}

// Core accepts uploads.
type Core struct {
	tokens  Tokens
	staging Staging
	jobLog  JobLog
	claims  Claims
	usage   Usage
	limits  Limits
	active  atomic.Int64
}

// New makes a core.
func New(d Dependencies, limits Limits) *Core {
	return &Core{tokens: d.Tokens, staging: d.Staging, jobLog: d.JobLog, claims: d.Claims, usage: d.Usage, limits: limits}
}

// Active is the number of uploads that are under way.
func (c *Core) Active() int64 { return c.active.Load() }

// busyPause is when a client that met the limit may come again.
const busyPause = 2 * time.Second

// Accept takes one upload in. When it returns without an error, bytes and event
// are durable.
func (c *Core) Accept(ctx context.Context, r Request) (Accepted, error) {
	if r.Length > c.limits.MaxBody() {
		return Accepted{}, TooLarge(c.limits.MaxBytes)
	}
	if err := plainBody(r.ContentEncoding); err != nil {
		return Accepted{}, err
	}
	key, err := keyOf(r.IdempotencyKey)
	if err != nil {
		return Accepted{}, err
	}
	defer c.active.Add(-1)
	if c.active.Add(1) > int64(c.limits.Concurrent) {
		return Accepted{}, &fault.Error{
			Kind: fault.Exhausted, Code: "busy", RetryAfter: busyPause,
			Detail: "Too many uploads are under way right now. Please try again.",
		}
	}
	references, err := c.tokens.References(ctx, r.TokenID)
	if err != nil {
		return Accepted{}, err
	}
	rec, err := open(r, c.limits.MaxBytes)
	if err != nil {
		return Accepted{}, err
	}
	job, err := event.NewJobID()
	if err != nil {
		return Accepted{}, err
	}
	received := event.Received{JobID: job, TokenID: r.TokenID, TextGridURL: references.TextGridURL, PitchURL: references.PitchURL}
	var done Accepted
	if key == nil {
		done, err = c.accept(ctx, received, rec)
	} else {
		done, err = c.acceptOnce(ctx, *key, received, rec)
	}
	done.References = references
	return done, err
}

// accept takes in an upload that has no key.
func (c *Core) accept(ctx context.Context, received event.Received, rec *recording) (Accepted, error) {
	received, err := c.stage(ctx, received, rec)
	if err != nil {
		return Accepted{}, err
	}
	// What is held is finished, whether or not anybody waits for it.
	return Accepted{JobID: received.JobID}, c.open(context.WithoutCancel(ctx), received)
}

// stage stores a recording and completes its event.
func (c *Core) stage(ctx context.Context, received event.Received, rec *recording) (event.Received, error) {
	if c.usage.Fullest() >= 1-c.limits.Reserve {
		return received, fault.Full("bus", errors.New("what room is left is for accepted jobs"))
	}
	staged, err := c.staging.Stage(ctx, received.Staged().Entry, rec)
	if err != nil {
		return received, fmt.Errorf("stage the recording of job %s: %w", received.JobID, err)
	}
	received.FileName, received.MediaType, received.SHA256 = rec.name, rec.mediaType, rec.sum()
	received.Size, received.Chunks = staged.Size, staged.Chunks
	return received, nil
}

// open opens the job of a recording that is staged. Where it is unknown whether
// the event was stored the bytes stay, since a job may need them: the sweeper of
// staging finds out.
func (c *Core) open(ctx context.Context, received event.Received) error {
	_, err := c.jobLog.Append(ctx, received, 0)
	if err == nil {
		return nil
	}
	if errors.Is(err, event.ErrOvertaken) { // another upload with the same key was quicker, and so was a deletion
		err = erased()
	}
	if refused(err) {
		c.unstage(ctx, received)
	}
	return fmt.Errorf("open job %s: %w", received.JobID, err)
}

// refused reports whether an event is certainly not stored.
func refused(err error) bool { return fault.Is(err, fault.Exhausted) || fault.Is(err, fault.Gone) }

// unstage removes the bytes of an upload that no job needs.
func (c *Core) unstage(ctx context.Context, received event.Received) {
	if err := c.staging.Unstage(ctx, received.Staged().Entry); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, received.JobID).Msg("refused upload left to the sweeper")
	}
}

// plainBody refuses a body that is encoded. Unpacking it would need limits of its
// own, and recordings hardly shrink.
func plainBody(contentEncoding string) error {
	for coding := range strings.SplitSeq(contentEncoding, ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			return encodedBody(shown(coding))
		}
	}
	return nil
}
