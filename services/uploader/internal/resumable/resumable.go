// Package resumable accepts recordings whose bytes clients send through the uploader, in any number
// of requests (tus 1.0 and the draft of the IETF). It stores the bytes in a multipart upload of S3.
//
// It guarantees:
//
//  1. There are no locks, and any replica accepts any request. A request that writes takes the
//     upload over by a compare-and-set on the record of the upload. An older request that still
//     writes then fails when it next changes the record. Bytes of two requests are never mixed:
//     each part number is reserved in the record before the part is sent to S3, so no two requests
//     send the same one.
//  2. The bytes before the offset in the record are durable. They are in the parts that the record
//     lists, and in the tail, an object with the last bytes, which are too few for a part. A
//     process that dies loses only the bytes that it has read since it last changed the record.
//  3. The requests of a process share a limited memory for parts. A request with a slow client
//     gives its buffer up if other requests wait for one.
//  4. When the last byte has arrived, the upload becomes a job exactly once (package direct). Until
//     then no response reports that the upload is complete.
package resumable

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// Deferred stands for the length of an upload whose length is not known yet.
const Deferred = -1

// Upload is the record of an upload that has not become a job yet.
type Upload struct {
	direct.Upload
	Metadata map[string]string `json:"metadata,omitempty"` // as the client sent it
	Partial  bool              `json:"partial,omitempty"`  // never becomes a job, but is concatenated with others; Spent after that, without bytes
	Length   int64             `json:"length"`             // length in bytes, or Deferred
	Offset   int64             `json:"offset"`             // number of bytes that are durable
	Hash     []byte            `json:"hash,omitempty"`     // state of the SHA-256 of the first Offset bytes; empty if S3 has copied them
	Parts    []Part            `json:"parts,omitempty"`    // the committed parts, in order
	Next     int               `json:"next"`               // smallest part number that is not reserved
	Tail     *Tail             `json:"tail,omitempty"`     // the bytes after the parts; nil if there are none
	Writer   int               `json:"writer"`             // number of requests that have taken the upload over
}

// Complete reports whether every byte has arrived.
func (u Upload) Complete() bool { return u.Length == u.Offset }

// Part is a committed part.
type Part struct {
	Number int   `json:"n"`
	Size   int64 `json:"size"` // bytes
}

// Tail is an object with the last bytes of an upload, which are too few for a part.
type Tail struct {
	Key  string `json:"key"`
	Size int64  `json:"size"` // bytes
}

// Records stores the records of uploads.
type Records interface {
	// Save stores the record of an upload and returns its new version. The parameter last is the
	// version that the caller has read, or 0 if there is no record. Save fails with
	// event.ErrLogConflict if the stored version is another one.
	Save(ctx context.Context, u Upload, last uint64) (version uint64, err error)

	// Load returns an upload, by its owner and the id of its job, and the version of its record. The
	// upload may be a partial one that is spent. Load returns false if there is no record.
	Load(ctx context.Context, owner, job string) (u Upload, version uint64, found bool, err error)

	// Resumable returns all uploads.
	Resumable(ctx context.Context) ([]Upload, error)
}

// Bucket is the bucket of recordings.
type Bucket interface {
	Put(ctx context.Context, o upload.Object, body io.Reader) error

	// Open opens an object for reading. It fails with fault.NotFound if the object does not exist.
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	Remove(ctx context.Context, key string) error
	Stat(ctx context.Context, key string) (upload.Object, bool, error)

	// PutPart, CopyPart, Parts and CompleteParts fail with fault.NotFound if the multipart upload
	// does not exist. CopyPart makes a part from size bytes, beginning at offset, of another
	// object. The key of that object is the parameter from.
	PutPart(ctx context.Context, key, s3ID string, number int, part io.Reader, size int64) error
	CopyPart(ctx context.Context, from string, offset, size int64, key, s3ID string, number int) error
	Parts(ctx context.Context, key, s3ID string) ([]direct.Part, error)
	CompleteParts(ctx context.Context, key, s3ID string, parts []direct.Part) error
}

// LogReader reads the logs of jobs.
type LogReader interface {
	Read(ctx context.Context, job string) (event.Log, error)
}

// Dependencies has the dependencies of a Core.
type Dependencies struct {
	Direct  *direct.Core
	Records Records
	Bucket  Bucket
	Jobs    LogReader
}

// Core has the operations of resumable uploads. It is safe for concurrent use.
type Core struct {
	Dependencies
	slots  chan struct{} // has a value for each request that writes
	memory *memory
}

// Limits are the limits of the requests that write.
type Limits struct {
	Writers int   // largest number of concurrent requests
	Memory  int64 // total size of the buffers for parts, in bytes; there are at least two buffers
}

// New makes a Core.
func New(d Dependencies, l Limits) *Core {
	c := &Core{Dependencies: d, slots: make(chan struct{}, l.Writers)}
	c.memory = newMemory(c.partSize(Upload{Length: Deferred}), l.Memory)
	return c
}

// Session is an upload as a request has read it.
type Session struct {
	Upload
	version uint64
	Job     bool // the upload is complete, and its job has begun
}

// Create begins an upload. It fails with fault.TooLarge if the length exceeds the limit.
func (c *Core) Create(ctx context.Context, u Upload) (*Session, error) {
	u.Resumable, u.Next = true, 1
	err := c.checkLength(u.Length)
	if err != nil {
		return nil, err
	}
	if u.Upload, err = c.Direct.BeginUnrecorded(ctx, u.Upload); err != nil {
		return nil, err
	}
	s := &Session{Upload: u}
	return s, c.save(ctx, s, u)
}

// Find returns an upload of an owner, even if it has become a job. It fails with fault.NotFound if
// the upload does not exist or has expired.
func (c *Core) Find(ctx context.Context, owner, job string) (*Session, error) {
	if id, ok := event.ParseJobID(job); !ok || id != job {
		return nil, direct.NotFound()
	}
	u, version, found, err := c.Records.Load(ctx, owner, job)
	if err != nil {
		return nil, err
	}
	if found && u.Owner == owner && time.Since(u.Created) < c.Direct.Options().Expiry {
		return &Session{Upload: u, version: version}, nil
	}
	log, err := c.Jobs.Read(ctx, job)
	if err != nil {
		return nil, err
	}
	r, began := event.Last[event.Received](log)
	_, erased := event.Last[event.Erased](log)
	if !began || erased || r.Owner != owner || r.Key == "" {
		return nil, direct.NotFound()
	}
	done := direct.Upload{JobID: job, Owner: owner, Key: r.Key, TokenID: r.TokenID, FileName: r.FileName, SHA256: r.SHA256}
	return &Session{Upload: Upload{Upload: done, Length: r.Size, Offset: r.Size}, Job: true}, nil
}

// save stores u as the record of a session. It returns superseded if another request has changed
// the record.
func (c *Core) save(ctx context.Context, s *Session, u Upload) error {
	version, err := c.Records.Save(ctx, u, s.version)
	if errors.Is(err, event.ErrLogConflict) {
		return superseded()
	}
	if err != nil {
		return err
	}
	s.Upload, s.version = u, version
	return nil
}

// checkLength fails if length exceeds the largest size of an upload.
func (c *Core) checkLength(length int64) error {
	if limit := c.Direct.Options().MaxBytes; length > limit {
		return fault.ExceedsLimit("upload", limit, nil)
	}
	return nil
}

// Declare sets the length of an upload that was begun without one. It fails with fault.Conflict if
// another request has changed the upload.
func (c *Core) Declare(ctx context.Context, s *Session, length int64) error {
	u := s.Upload
	u.Length = length
	return c.save(ctx, s, u)
}

// Abort removes an upload and its bytes. It fails with fault.NotFound if the upload has become a job,
// even meanwhile; then it sets s.Job.
func (c *Core) Abort(ctx context.Context, s *Session) error {
	if s.Job {
		return completed()
	}
	remove := c.Direct.Abandon
	if s.Partial { // never becomes a job, although its parts are joined when it is complete
		remove = c.Direct.Discard
	}
	err := remove(ctx, s.Upload.Upload)
	if fault.Is(err, fault.NotFound) {
		s.Job = true
		return completed()
	}
	if err != nil {
		return err
	}
	found, err := c.Find(ctx, s.Owner, s.JobID)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil || !found.Job:
		return err
	}
	*s = *found
	return completed()
}

// Finish begins the job of an upload whose bytes have all arrived. It joins the parts of a partial
// upload to an object instead. If bytes are missing, it does nothing. If the upload cannot be a
// recording, Finish removes it and returns the reason. Finish may be called again, even
// concurrently.
func (c *Core) Finish(ctx context.Context, s *Session) error {
	if s.Job || s.Spent || !s.Complete() {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // the upload is complete, so the job begins even if the client disconnects
	defer func(u direct.Upload) {
		if s.Job { // some S3 servers keep a part that arrives while they join the others, and the multipart upload
			_ = c.Direct.Bucket.AbortParts(ctx, u.Key, u.S3ID) // after an error, the sweeper aborts the multipart upload
		}
	}(s.Upload.Upload)
	for err := c.useTail(ctx, s); err != nil; err = c.useTail(ctx, s) {
		if err := c.raced(ctx, s, err); err != nil {
			return err
		}
		if s.Job || s.Spent {
			return nil
		}
	}
	if s.Partial {
		return c.object(ctx, s)
	}
	u := s.Upload.Upload
	if s.Length == 0 {
		return c.refuse(ctx, s, fault.New(fault.Invalid, "empty-file", "The file is empty."))
	}
	if len(s.Hash) > 0 {
		sum, err := resume(s.Hash)
		if err != nil {
			return err
		}
		computed := hex.EncodeToString(sum.Sum(nil))
		if u.SHA256 != "" && !strings.EqualFold(u.SHA256, computed) {
			return c.refuse(ctx, s, fault.New(fault.Invalid, "digest-mismatch", "The recording is not the one whose digest was announced."))
		}
		u.SHA256 = computed
	}
	parts, err := c.parts(ctx, s.Upload)
	if err == nil {
		err = c.Direct.Join(ctx, u, parts)
	} else if mayBeJoined(err) {
		err = c.Direct.Joined(ctx, u)
	}
	s.Job = err == nil
	return err
}

// raced sets s to the upload as another call has left it, if cause occurred because that call finishes
// the upload, too. Otherwise it returns cause.
func (c *Core) raced(ctx context.Context, s *Session, cause error) error {
	if !errors.Is(cause, event.ErrLogConflict) && !mayBeJoined(cause) {
		return cause
	}
	found, err := c.Find(ctx, s.Owner, s.JobID)
	switch {
	case err != nil:
		return err
	case !found.Job && found.version == s.version:
		return cause
	}
	*s = *found
	return nil
}

// mayBeJoined reports whether err may mean that another call joins the parts or has joined them.
// Some S3 servers then answer with an internal error.
func mayBeJoined(err error) bool {
	return fault.Is(err, fault.NotFound) || fault.Is(err, fault.Unavailable)
}

// refuse removes an upload and returns the reason.
func (c *Core) refuse(ctx context.Context, s *Session, reason error) error {
	if err := c.Direct.Discard(ctx, s.Upload.Upload); err != nil {
		return err
	}
	return reason
}

// parts returns the committed parts of an upload, with their ETags. It fails with fault.NotFound if
// S3 does not have all of them. This happens while another call joins the parts, since some S3
// servers remove joined parts one by one.
func (c *Core) parts(ctx context.Context, u Upload) ([]direct.Part, error) {
	all, err := c.Bucket.Parts(ctx, u.Key, u.S3ID)
	if err != nil {
		return nil, err
	}
	at := make(map[int]direct.Part, len(all))
	for _, p := range all {
		at[p.Number] = p
	}
	var size int64
	parts := make([]direct.Part, len(u.Parts))
	for i, p := range u.Parts {
		if at[p.Number].Size != p.Size {
			zerolog.Ctx(ctx).Info().Str(logging.JobID, u.JobID).Int("part", p.Number).Int64("bytes", at[p.Number].Size).Msg("part is not at S3 as it was sent")
			return nil, direct.NotFound()
		}
		parts[i], size = at[p.Number], size+p.Size
	}
	if size != u.Length {
		return nil, fmt.Errorf("the parts of %s have %d bytes, not %d", u.Key, size, u.Length)
	}
	return parts, nil
}

// useTail copies the tail of a complete upload to its last part.
func (c *Core) useTail(ctx context.Context, s *Session) error {
	tail := s.Tail
	if tail == nil {
		return nil
	}
	number, err := c.reserve(ctx, s)
	if err != nil {
		return err
	}
	if err := c.Bucket.CopyPart(ctx, tail.Key, 0, tail.Size, s.Key, s.S3ID, number); err != nil {
		return err
	}
	u := s.Upload
	u.Parts, u.Tail = appendPart(u.Parts, Part{number, tail.Size}), nil
	return c.save(ctx, s, u)
}

// reserve reserves the next part number in the record.
func (c *Core) reserve(ctx context.Context, s *Session) (int, error) {
	u := s.Upload
	number := u.Next
	if number > direct.MaxParts {
		return 0, tooManyParts()
	}
	u.Next++
	return number, c.save(ctx, s, u)
}
