// Package upload accepts recordings: it reads an upload, stages its bytes and appends the event
// that begins the job.
//
// It guarantees:
//
//  1. A job is accepted only when its bytes and its event are durable.
//  2. The bytes are the bytes of a complete request. The event is appended after the multipart body
//     was read to its closing boundary and to its declared length.
//  3. An upload that fails before the append publishes no event, and its staged bytes are removed.
//     If the removal fails or the gateway dies, the uploader removes them later.
//  4. Uploads of one owner with the same idempotency key become one job, even if several replicas
//     receive the uploads and some of these replicas die.
//  5. The memory of an upload is limited, whatever the client sends: it holds the head of the
//     recording, and a few chunks on their way to staging. The number of concurrent uploads is
//     limited too.
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

	"sori.internal/services/gateway/internal/quota"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/source"
)

// References are the reference files of a token in the catalogue; empty if it has none.
type References struct {
	TextGridURL string
	PitchURL    string
}

// Tokens finds tokens.
type Tokens interface {
	// References fails with fault.NotFound if there is no such token.
	References(ctx context.Context, token int64) (References, error)
}

// Staging stores the bytes of uploads. An entry is stored completely or not at all.
type Staging interface {
	Put(ctx context.Context, entry string, r io.Reader) (event.Staged, error)
	Delete(ctx context.Context, entry string) error
}

// JobLog is the log of the jobs.
type JobLog interface {
	Append(ctx context.Context, e event.Event, after uint64) (uint64, error)
	Read(ctx context.Context, job string) (event.Log, error)
}

// Usage reports how full the log and staging are.
type Usage interface {
	// MaxUsed returns the larger of the two used fractions, from 0 to 1, as of about a second ago.
	MaxUsed() float64
}

// Limits are the limits of uploads.
type Limits struct {
	MaxBytes    int64 // bytes of one recording in a form
	DirectBytes int64 // bytes of one recording that the client sends to the bucket itself; named in the failure of a form that is too large
	Concurrent  int   // largest number of concurrent uploads

	// Reserve is the fraction of the log and of staging that is reserved for accepted jobs. Without
	// it, uploads could fill both, and accepted jobs could neither continue nor fail.
	Reserve float64

	// Lease is how long an idempotency key stays claimed after the replica with its upload has
	// died.
	Lease time.Duration
}

// MaxBody returns the size of the largest request body that can contain a recording within the
// limits.
func (l Limits) MaxBody() int64 { return l.MaxBytes + envelopeSize }

// Request is the request of an upload.
type Request struct {
	TokenID       int64
	Owner         string // owner of the job; empty if requests are not authenticated
	ContentType   string
	ContentDigest string // value of the Content-Digest header (RFC 9530); empty if absent
	ReprDigest    string // value of the Repr-Digest header (RFC 9530); empty if absent

	// ContentEncoding is the Content-Encoding header, its lines joined by commas.
	ContentEncoding string

	// ContentRange is the Content-Range header, its lines joined by commas.
	ContentRange string

	// UploadLength is the Upload-Length header. FilePond sends it with a form that has no file, before it
	// sends a file in chunks.
	UploadLength string

	Fresh  bool  // the recording is to be analysed, even if a result is cached
	Length int64 // the declared length of the body, -1 if none is declared

	// IdempotencyKey has the lines of the Idempotency-Key header.
	IdempotencyKey []string

	// Body must return io.EOF only at the real end of the body. A truncated body must fail, whether
	// its length was declared or not.
	Body io.Reader
}

// Accepted is the result of an accepted request.
type Accepted struct {
	JobID      string
	References References
	Replayed   bool // an earlier request with the same key was accepted
}

// Dependencies has the dependencies of a core.
type Dependencies struct {
	CheckReference func(ref string) error // returns an error if a reference is not allowed

	Tokens  Tokens
	Staging Staging
	JobLog  JobLog
	Claims  Claims
	Usage   Usage
	Quotas  *quota.Quotas // nil: owners have no budgets

	Allowed source.Allowed // hosts, networks and objects that may be fetched besides public addresses
	Sealer  *source.Sealer
}

// Core accepts uploads.
type Core struct {
	check   func(ref string) error
	tokens  Tokens
	staging Staging
	jobLog  JobLog
	claims  Claims
	usage   Usage
	quotas  *quota.Quotas
	allowed source.Allowed
	sealer  *source.Sealer
	limits  Limits
	active  atomic.Int64
}

// New makes a core.
func New(d Dependencies, limits Limits) *Core {
	return &Core{
		check: d.CheckReference, tokens: d.Tokens, staging: d.Staging, jobLog: d.JobLog, claims: d.Claims, usage: d.Usage,
		quotas: d.Quotas, allowed: d.Allowed, sealer: d.Sealer, limits: limits,
	}
}

// Active returns the number of uploads that are under way.
func (c *Core) Active() int64 { return c.active.Load() }

// errReserve is the failure of an upload when the log or staging is full except for the reserve.
var errReserve = fault.AtCapacity("bus", errors.New("the reserve is kept for accepted jobs"))

// busyRetryAfter is the Retry-After of an upload beyond the limit of concurrent uploads.
const busyRetryAfter = 2 * time.Second

// Accept accepts an upload. If it returns no error, the bytes and the event are durable.
func (c *Core) Accept(ctx context.Context, r Request) (Accepted, error) {
	if r.Length > c.limits.MaxBody() {
		return Accepted{}, c.limits.tooLarge(r.Length - envelopeSize)
	}
	if err := refuseEncoded(r.ContentEncoding); err != nil {
		return Accepted{}, err
	}
	key, err := parseKey(r.IdempotencyKey, r.Owner)
	if err != nil {
		return Accepted{}, err
	}
	defer c.active.Add(-1)
	if c.active.Add(1) > int64(c.limits.Concurrent) {
		return Accepted{}, &fault.Error{
			Kind: fault.Exhausted, Code: "busy", RetryAfter: busyRetryAfter,
			Detail: "Too many uploads are under way right now. Please try again.",
		}
	}
	return c.begin(ctx, event.Received{TokenID: r.TokenID, Owner: r.Owner, Fresh: r.Fresh}, key, func() (content, error) { return openRecording(r, c.limits) })
}

// content is what a request uploads: a recording, or a source from which the recording is fetched.
type content interface {
	// stage completes the event that begins the job. It reserves what the job needs in the budgets
	// of the owner.
	stage(ctx context.Context, c *Core, received event.Received) (event.Received, *quota.Reservation, error)
	// identify reads the content to its end. It returns a hash of the content, by which requests with
	// the same idempotency key are compared.
	identify(c *Core) (string, error)
}

// begin begins the job of a request. The caller has set the token, the owner and Fresh of the event
// `received`. open opens the content of the request.
func (c *Core) begin(ctx context.Context, received event.Received, key *Key, open func() (content, error)) (Accepted, error) {
	references, err := c.References(ctx, received.TokenID)
	if err != nil {
		return Accepted{}, err
	}
	opened, err := open()
	if err != nil {
		return Accepted{}, err
	}
	job, err := event.NewJobID()
	if err != nil {
		return Accepted{}, err
	}
	received.JobID, received.TextGridURL, received.PitchURL = job, references.TextGridURL, references.PitchURL
	var done Accepted
	if key == nil {
		done, err = c.accept(ctx, received, opened)
	} else {
		done, err = c.acceptOnce(ctx, *key, received, opened)
	}
	done.References = references
	return done, err
}

// Admit returns the reference files of a token. It fails if an owner may not upload to the token
// now. It is for uploads that do not go through staging. size is the size in bytes as far as it is
// known, at least 1.
func (c *Core) Admit(ctx context.Context, owner string, token, size int64) (References, error) {
	references, err := c.References(ctx, token)
	if err != nil {
		return references, err
	}
	return references, c.AdmitPartial(ctx, owner, size)
}

// AdmitPartial is Admit for an upload that is concatenated with others, and names no token.
func (c *Core) AdmitPartial(ctx context.Context, owner string, size int64) error {
	if c.usage.MaxUsed() >= 1-c.limits.Reserve {
		return errReserve
	}
	return c.quotas.Check(ctx, owner, size)
}

// References returns the reference files of a token. It fails with fault.NotFound if there is no
// such token. It also fails if a file is not allowed: the token may have been stored before
// references were checked.
func (c *Core) References(ctx context.Context, token int64) (References, error) {
	r, err := c.tokens.References(ctx, token)
	if err != nil {
		return References{}, err
	}
	for _, ref := range []string{r.TextGridURL, r.PitchURL} {
		if ref == "" {
			continue
		}
		if err := c.check(ref); err != nil {
			return References{}, fault.Wrap(fault.Invalid, "reference-not-allowed",
				"A reference file of the token lies where references may not lie. The token has to be corrected.",
				fmt.Errorf("token %d: %w", token, err))
		}
	}
	return r, nil
}

// accept accepts a request without an idempotency key.
func (c *Core) accept(ctx context.Context, received event.Received, given content) (Accepted, error) {
	received, reserved, err := given.stage(ctx, c, received)
	if err != nil {
		return Accepted{}, err
	}
	// Staged bytes become a job even if the client has disconnected.
	return Accepted{JobID: received.JobID}, c.appendReceived(context.WithoutCancel(ctx), received, reserved)
}

// reserve reserves bytes in the budgets of the owner. It fails if the log or staging is full except
// for the reserve for accepted jobs.
func (c *Core) reserve(ctx context.Context, received event.Received, size int64) (*quota.Reservation, error) {
	if c.usage.MaxUsed() >= 1-c.limits.Reserve {
		return nil, errReserve
	}
	return c.quotas.Reserve(ctx, received.Owner, received.JobID, size)
}

// stage implements content. It stages the recording.
func (r *recording) stage(ctx context.Context, c *Core, received event.Received) (event.Received, *quota.Reservation, error) {
	reserved, err := c.reserve(ctx, received, r.declared)
	if err != nil {
		return received, nil, err
	}
	staged, err := c.staging.Put(ctx, received.Staged().Entry, r)
	if err != nil {
		reserved.Release()
		return received, nil, fmt.Errorf("stage the recording of job %s: %w", received.JobID, err)
	}
	if err := reserved.Staged(ctx, staged.Size); err != nil {
		reserved.Release()
		c.unstage(context.WithoutCancel(ctx), received)
		return received, nil, err
	}
	received.FileName, received.MediaType, received.SHA256 = r.name, r.mediaType, r.sum()
	received.Size, received.Chunks = staged.Size, staged.Chunks
	return received, reserved, nil
}

// appendReceived appends the event that begins the job of a staged recording. If it is unknown
// whether the event was stored, the bytes are not deleted, since a job may need them. If there is
// no job, the sweeper of staging deletes them.
func (c *Core) appendReceived(ctx context.Context, received event.Received, reserved *quota.Reservation) error {
	_, err := c.jobLog.Append(ctx, received, 0)
	if err == nil {
		reserved.Accepted()
		return nil
	}
	if errors.Is(err, event.ErrLogConflict) { // the log already has events of this job, which was erased
		err = erased()
	}
	if notStored(err) {
		reserved.Release()
		c.unstage(ctx, received)
	} else {
		reserved.Accepted()
	}
	return fmt.Errorf("begin job %s: %w", received.JobID, err)
}

// notStored reports whether an append has certainly not stored the event.
func notStored(err error) bool { return fault.Is(err, fault.Exhausted) || fault.Is(err, fault.Gone) }

// unstage removes the bytes of an upload that no job needs.
func (c *Core) unstage(ctx context.Context, received event.Received) {
	if received.Source != "" { // nothing is staged
		return
	}
	if err := c.staging.Delete(ctx, received.Staged().Entry); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, received.JobID).Msg("bytes of refused upload not removed")
	}
}

// refuseEncoded refuses a body with a content coding. Decompression would need limits of its own,
// and would save little: recordings hardly compress.
func refuseEncoded(contentEncoding string) error {
	for coding := range strings.SplitSeq(contentEncoding, ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			return encodedBody(displayable(coding))
		}
	}
	return nil
}
