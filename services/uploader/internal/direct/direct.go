// Package direct accepts recordings that clients send to the bucket themselves: in parts, as a
// multipart upload of S3, or in one request, as a form with a signed policy. Only the requests that
// begin, sign and complete an upload pass through the uploader; the bytes do not. Package resumable
// accepts bytes through the uploader, but completes and removes its uploads with Join and Discard
// of this package.
//
// It guarantees:
//
//  1. The uploader chooses the key of a recording. The key contains the id of the job that the upload
//     becomes, and only the owner of the upload can use it.
//  2. The URL of a part can be signed at any time and any number of times. There are no locks: if
//     two clients send the same part, S3 keeps the later one, which its ETag identifies.
//  3. A job begins when the object is complete and looks like audio. The job of a form begins with
//     any object, and fails if the object is not a recording. Completing an upload again, even
//     concurrently in another replica, gives the same job.
//  4. An upload that is not completed in time is removed, with all its bytes.
//  5. S3 accepts a form until the form expires, even after the job of its object was erased.
//     Therefore the record of a form is kept until UPLOAD_EXPIRY has passed. When the record is
//     removed, the object of an erased job is removed, too.
//
// If a process dies, the next call or the sweeper continues its work: S3 has the bytes, the stream
// of uploads has the record of the upload, and the job exists only if its log does.
package direct

import (
	"context"
	"net/url"
	"time"

	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Upload is the record of an upload that has not become a job yet or, with Spent, of one that is
// used up but whose record must stay.
type Upload struct {
	JobID       string    `json:"job_id"`          // id of the job that the upload becomes
	S3ID        string    `json:"s3_id,omitempty"` // S3's id of the multipart upload; empty for a form
	Key         string    `json:"key"`
	Owner       string    `json:"owner,omitempty"`
	TokenID     int64     `json:"token_id"`
	TextGridURL string    `json:"s3_textgrid_url,omitempty"`
	PitchURL    string    `json:"s3_pitch_url,omitempty"`
	FileName    string    `json:"file_name,omitempty"`
	SHA256      string    `json:"sha256,omitempty"` // SHA-256 that the client announced, in hexadecimal
	Fresh       bool      `json:"fresh,omitempty"`  // a cached result must not be used
	Created     time.Time `json:"created"`
	Resumable   bool      `json:"resumable,omitempty"` // the client sends the bytes to the uploader (package resumable)
	Spent       bool      `json:"spent,omitempty"`     // the upload is a form whose job has begun, or a partial upload that was concatenated
}

// Way returns how the client sends the bytes.
func (u Upload) Way() event.UploadWay {
	switch {
	case u.Spent:
		return event.WaySpent
	case u.Resumable:
		return event.WayTus
	case u.S3ID == "":
		return event.WayForm
	default:
		return event.WayMultipart
	}
}

// Records stores the records of uploads.
type Records interface {
	Put(ctx context.Context, u Upload) error

	// Find returns the upload that becomes a job, by its way, its owner and the id of the job. It
	// returns false if there is none.
	Find(ctx context.Context, way event.UploadWay, owner, job string) (Upload, bool, error)
	Delete(ctx context.Context, u Upload) error

	// All returns all uploads of one way.
	All(ctx context.Context, way event.UploadWay) ([]Upload, error)

	// Count returns the number of an owner's uploads, of all ways, that have not become a job, and
	// the number of those that have, and whose record must stay (Spent).
	Count(ctx context.Context, owner string) (open, spent int, err error)
}

// Part is a part of a multipart upload, as S3 lists it.
type Part struct {
	Number int // part number, from 1 to MaxParts
	ETag   string
	Size   int64 // bytes
}

// Form describes the POST request with which a client stores an object in S3.
type Form struct {
	URL    string
	Fields map[string]string // form fields that the client must send before the file
}

// Bucket is the bucket of recordings.
type Bucket interface {
	Stat(ctx context.Context, key string) (upload.Object, bool, error)
	Remove(ctx context.Context, key string) error

	// RemovePrefix removes every object whose key has a prefix.
	RemovePrefix(ctx context.Context, prefix string) error

	// Head returns the first n bytes of an object, or the whole object if it is smaller.
	Head(ctx context.Context, key string, n int64) ([]byte, error)

	BeginParts(ctx context.Context, key string) (s3ID string, err error)
	SignPart(ctx context.Context, key, s3ID string, number int, valid time.Duration) (*url.URL, error)

	// Parts, CompleteParts and AbortParts fail with fault.NotFound if there is no such multipart
	// upload, for example because it was completed or aborted. CompleteParts fails with
	// fault.Invalid if S3 refuses the parts.
	Parts(ctx context.Context, key, s3ID string) ([]Part, error)
	CompleteParts(ctx context.Context, key, s3ID string, parts []Part) error
	AbortParts(ctx context.Context, key, s3ID string) error

	// SignForm signs a form that stores an object of 1 to maxBytes bytes.
	SignForm(ctx context.Context, key string, maxBytes int64, valid time.Duration) (Form, error)

	// Unfinished calls f for each multipart upload of a recording that is neither completed nor
	// aborted.
	Unfinished(ctx context.Context, f func(Unfinished) error) error
}

// Unfinished is a multipart upload that is neither completed nor aborted.
type Unfinished struct {
	Key, S3ID string
	Begun     time.Time
	Size      int64 // total size of the parts, in bytes
}

// JobLog reads and appends to the logs of jobs.
type JobLog interface {
	Append(ctx context.Context, e event.Event, after uint64) (uint64, error)
	Read(ctx context.Context, job string) (event.Log, error)
}

// Dependencies has the dependencies of a Core.
type Dependencies struct {
	Records Records
	Bucket  Bucket
	Jobs    JobLog
}

// Options are the settings of direct uploads.
type Options struct {
	MaxBytes  int64         // largest size of a recording, in bytes
	MaxOpen   int           // largest number of unfinished uploads of one owner
	Expiry    time.Duration // time after which an unfinished upload is removed
	LinkValid time.Duration // validity of the URL of a part, and of a form
}

// The limits of S3 for multipart uploads (Amazon S3 User Guide, "Amazon S3 multipart upload
// limits").
const (
	MaxParts = 10_000  // largest part number, and therefore largest number of parts
	MinPart  = 5 << 20 // smallest size of a part that is not the last one, in bytes
)

// Core has the operations of direct uploads. It is safe for concurrent use.
type Core struct {
	Dependencies
	options Options
}

// New makes a Core.
func New(d Dependencies, o Options) *Core { return &Core{Dependencies: d, options: o} }

// Options returns the settings.
func (c *Core) Options() Options { return c.options }

// Begin begins a multipart upload. It sets the fields JobID, S3ID, Key and Created of u. It fails
// if the owner has too many unfinished uploads.
func (c *Core) Begin(ctx context.Context, u Upload) (Upload, error) {
	u, err := c.BeginUnrecorded(ctx, u)
	if err != nil {
		return u, err
	}
	return u, c.Records.Put(ctx, u)
}

// BeginUnrecorded is like Begin, but stores no record of the upload: the caller must store one. If
// the caller fails, the sweeper aborts the multipart upload.
func (c *Core) BeginUnrecorded(ctx context.Context, u Upload) (Upload, error) {
	if err := c.prepare(ctx, &u); err != nil {
		return u, err
	}
	var err error
	u.S3ID, err = c.Bucket.BeginParts(ctx, u.Key)
	return u, err
}

// Form begins an upload whose bytes the client sends to S3 in one request. It sets the fields
// JobID, Key and Created of u. It fails if the owner has too many unfinished uploads.
func (c *Core) Form(ctx context.Context, u Upload) (Upload, Form, error) {
	if err := c.prepare(ctx, &u); err != nil {
		return u, Form{}, err
	}
	form, err := c.Bucket.SignForm(ctx, u.Key, c.options.MaxBytes, c.options.LinkValid)
	if err != nil {
		return u, Form{}, err
	}
	return u, form, c.Records.Put(ctx, u)
}

// maxSpent is the largest number of records with Spent of one owner: of used forms and of partial
// uploads that were concatenated. Each has about 500 bytes and is kept until UPLOAD_EXPIRY has
// passed. Without the limit, one owner could fill the stream of uploads, in which the uploads of
// all others have their records, within half an hour. An instance without authentication has no
// owners, and no limit.
const maxSpent = 10_000

// prepare sets the key of an upload, and its job id if it has none. It fails if the owner has too
// many unfinished uploads, or too many records of used ones.
func (c *Core) prepare(ctx context.Context, u *Upload) error {
	open, spent, err := c.Records.Count(ctx, u.Owner)
	switch {
	case err != nil:
		return err
	case open >= c.options.MaxOpen:
		return tooManyOpen(c.options.MaxOpen)
	case u.Owner != "" && spent >= maxSpent:
		return tooManySpent()
	}
	if u.JobID == "" {
		if u.JobID, err = event.NewJobID(); err != nil {
			return err
		}
	}
	u.Key, u.Created = upload.Key(u.JobID, u.FileName), time.Now().UTC()
	return nil
}

// Handle has the values by which the requests of a client identify a multipart upload.
type Handle struct{ Owner, Key, S3ID string }

// find returns the upload of a handle.
func (c *Core) find(ctx context.Context, h Handle) (Upload, error) {
	job, ok := upload.JobOfKey(h.Key)
	if !ok {
		return Upload{}, NotFound()
	}
	u, found, err := c.Records.Find(ctx, event.WayMultipart, h.Owner, job)
	if err != nil {
		return Upload{}, err
	}
	if !found || u.Key != h.Key || u.S3ID != h.S3ID || u.Owner != h.Owner {
		return Upload{}, NotFound()
	}
	return u, nil
}

// Parts returns the parts of an upload that S3 has. It fails with fault.NotFound if the upload does
// not exist.
func (c *Core) Parts(ctx context.Context, h Handle) ([]Part, error) {
	u, err := c.find(ctx, h)
	if err != nil {
		return nil, err
	}
	parts, err := c.Bucket.Parts(ctx, u.Key, u.S3ID)
	if fault.Is(err, fault.NotFound) {
		return nil, NotFound()
	}
	return parts, err
}

// Sign returns presigned URLs, by part number, to which the client sends parts of an upload with
// PUT. It fails with fault.NotFound if the upload does not exist.
func (c *Core) Sign(ctx context.Context, h Handle, numbers ...int) (map[int]string, error) {
	u, err := c.find(ctx, h)
	if err != nil {
		return nil, err
	}
	signed := make(map[int]string, len(numbers))
	for _, n := range numbers {
		link, err := c.Bucket.SignPart(ctx, u.Key, u.S3ID, n, c.options.LinkValid)
		if err != nil {
			return nil, err
		}
		signed[n] = link.String()
	}
	return signed, nil
}

// Complete joins the parts of an upload and begins its job. Calling Complete again returns the same
// job.
func (c *Core) Complete(ctx context.Context, h Handle, parts []Part) (Upload, error) {
	u, err := c.find(ctx, h)
	if fault.Is(err, fault.NotFound) {
		return c.completed(ctx, h)
	}
	if err != nil {
		return u, err
	}
	return u, c.Join(ctx, u, parts)
}

// completed returns the upload of a handle whose job has begun already. It fails with
// fault.NotFound if there is no such job.
func (c *Core) completed(ctx context.Context, h Handle) (Upload, error) {
	job, ok := upload.JobOfKey(h.Key)
	if !ok {
		return Upload{}, NotFound()
	}
	log, err := c.Jobs.Read(ctx, job)
	if err != nil {
		return Upload{}, err
	}
	r, ok := event.Last[event.Received](log)
	if !ok || r.Owner != h.Owner || r.Key != h.Key {
		return Upload{}, NotFound()
	}
	return Upload{JobID: job, Key: r.Key, Owner: r.Owner, TokenID: r.TokenID}, nil
}

// spend replaces the record of a form by one that says that the form has become a job.
func (c *Core) spend(ctx context.Context, u Upload) error {
	spent := Upload{JobID: u.JobID, Key: u.Key, Owner: u.Owner, Created: u.Created, Spent: true}
	if err := c.Records.Put(ctx, spent); err != nil {
		return err
	}
	return c.Records.Delete(ctx, u)
}

// forget removes the record of an upload, and the tails of a resumable upload.
func (c *Core) forget(ctx context.Context, u Upload) error {
	if u.Resumable {
		if err := c.Bucket.RemovePrefix(ctx, upload.TailPrefix(u.JobID)); err != nil {
			return err
		}
	}
	return c.Records.Delete(ctx, u)
}
