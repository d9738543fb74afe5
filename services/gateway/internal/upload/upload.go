// Package upload is the gateway's core: how a recording that a client sends
// becomes an accepted job.
//
// It guarantees that a job is accepted only when its bytes and its event are
// durable, and that the bytes are those of a whole request: the event is
// published after the multipart body was read to its closing boundary and to
// its declared length. An upload that fails at any earlier point publishes
// nothing and leaves nothing behind.
//
// Clients are not trusted with memory. However large a body is, however many
// parts it has and however long their headers are, an upload holds a head of the
// recording and one chunk of staging; how many run at once is bounded too.
package upload

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
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

// Journal is the log of the jobs.
type Journal interface {
	Append(ctx context.Context, e event.Event, after uint64) (uint64, error)
}

// Limits bound what is taken.
type Limits struct {
	MaxBytes   int64 // of one recording
	Concurrent int   // uploads at once
}

// MaxBody is the longest request body that can hold a recording within the
// limits.
func (l Limits) MaxBody() int64 { return l.MaxBytes + envelopeSize }

// Request is an upload as it arrives.
type Request struct {
	TokenID       int64
	ContentType   string
	ContentDigest string // the header of RFC 9530, empty where absent
	Length        int64  // of the body as declared, -1 where it is not

	// Body must end with io.EOF only where the request's body does: one that is
	// cut short must fail, whether its length was declared or not.
	Body io.Reader
}

// Accepted is what became of a request.
type Accepted struct {
	JobID      string
	References References
}

// Core accepts uploads.
type Core struct {
	tokens  Tokens
	staging Staging
	journal Journal
	limits  Limits
	active  atomic.Int64
}

// New makes a core.
func New(tokens Tokens, staging Staging, journal Journal, limits Limits) *Core {
	return &Core{tokens: tokens, staging: staging, journal: journal, limits: limits}
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
	job, err := c.keep(ctx, r.TokenID, references, rec)
	return Accepted{JobID: job, References: references}, err
}

// keep stages a recording and opens its job.
func (c *Core) keep(ctx context.Context, token int64, references References, rec *recording) (string, error) {
	job, err := event.NewJobID()
	if err != nil {
		return "", err
	}
	staged, err := c.staging.Stage(ctx, job, rec)
	if err != nil {
		return "", fmt.Errorf("stage the recording of job %s: %w", job, err)
	}
	received := event.Received{
		JobID: job, TokenID: token, TextGridURL: references.TextGridURL, PitchURL: references.PitchURL,
		FileName: rec.name, MediaType: rec.mediaType, Size: staged.Size,
		SHA256: hex.EncodeToString(rec.hash.Sum(nil)), Chunks: staged.Chunks,
	}
	// What is held is finished, whether or not anybody waits for it.
	ctx = context.WithoutCancel(ctx)
	if _, err := c.journal.Append(ctx, received, 0); err != nil {
		c.abandon(ctx, job, err)
		return "", fmt.Errorf("open job %s: %w", job, err)
	}
	return job, nil
}

// abandon removes the bytes of a job that was refused. Where it is unknown
// whether the event was stored they stay, since a job may need them: the sweeper
// of staging finds out.
func (c *Core) abandon(ctx context.Context, job string, cause error) {
	if !fault.Is(cause, fault.Exhausted) {
		return
	}
	if err := c.staging.Unstage(ctx, job); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, job).Msg("refused upload left to the sweeper")
	}
}

// TooLarge is the failure of a recording beyond the limit.
func TooLarge(limit int64) error {
	return &fault.Error{
		Kind: fault.TooLarge, Code: "too-large", Extra: map[string]any{"max_bytes": limit},
		Detail: fmt.Sprintf("The file is larger than %d bytes.", limit),
	}
}
