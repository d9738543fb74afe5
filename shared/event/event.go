// Package event defines the events that the services exchange: a flat struct for each, their
// subjects, the streams that store them, and the log of a job that they form.
//
// Events are CloudEvents 1.0 in binary mode: the struct is the body, a readable JSON object, and
// the attributes are headers (package bus). Events contain identifiers and references, never bytes
// and never presigned URLs. Fields are only ever added: older readers ignore a new field, and newer
// readers see its zero value in an older event. Any other change needs a new type. Every struct has
// a golden file in testdata.
package event

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Name is the name of an event: the last part of its NATS subject, after the last dot.
type Name string

// The state events form a job's log. The progress events never change a status. The event `deleted`
// is about a token of the catalogue.
const (
	NameReceived   Name = "received"
	NameStored     Name = "stored"
	NameAttempted  Name = "attempted"
	NameDispatched Name = "dispatched"
	NameLapsed     Name = "lapsed"
	NameCompleted  Name = "completed"
	NameFailed     Name = "failed"
	NameCanceled   Name = "canceled"
	NameRetried    Name = "retried"
	NameExpired    Name = "expired"
	NameErased     Name = "erased"

	NameFetching   Name = "fetching"
	NameUploading  Name = "uploading"
	NameProgressed Name = "progressed"
	NameWaiting    Name = "waiting"
	NameRefused    Name = "refused"
	NameDiscarded  Name = "discarded"
	NameGranted    Name = "granted"

	NameDeleted Name = "deleted"
)

// Progress reports whether events with this name are progress events, which are not part of a job's
// log.
func (n Name) Progress() bool {
	switch n {
	case NameFetching, NameUploading, NameProgressed, NameWaiting, NameRefused, NameDiscarded, NameGranted:
		return true
	default:
		return false
	}
}

// Terminal reports whether a job has ended if its log ends with an event of this name. A failed job
// can continue: the event `retried` starts it again. The recording of a completed, failed or
// canceled job may expire. A job may be erased after any event; nothing is appended after the event
// `erased`.
func (n Name) Terminal() bool {
	return n == NameCompleted || n == NameFailed || n == NameCanceled || n == NameExpired || n == NameErased
}

// Event is a fact about one job, or about a token.
type Event interface {
	// Name returns the name of the event.
	Name() Name
	// Job returns the id of the event's job, or "" if the event is about a token.
	Job() string
	// Occurrence returns a text that distinguishes the events of one name and one job: the attempt,
	// the progress, or the time. It is empty if a job can have only one event of the name.
	Occurrence() string
}

// ID returns the id of an event for the headers ce-id and Nats-Msg-Id. The id is the same whichever
// process publishes the event, and however often.
func ID(e Event) string {
	id := EntityID(e) + "." + string(e.Name())
	if e.Name() == NameDeleted {
		id = "token." + id
	}
	if o := e.Occurrence(); o != "" {
		id += "." + o
	}
	return id
}

// Type returns the type of an event in CloudEvents: audio.job.stored.v1,
// audio.progress.uploading.v1, audio.token.deleted.v1.
func Type(n Name) string {
	switch {
	case n.Progress():
		return "audio.progress." + string(n) + ".v1"
	case n == NameDeleted:
		return "audio.token." + string(n) + ".v1"
	default:
		return "audio.job." + string(n) + ".v1"
	}
}

// Received means that an upload is durable: its bytes are staged, or the client has sent them to the
// bucket itself (Key), or the uploader is to fetch them (Source). It is the first event of a job's log.
// Published by the gateway, and by the uploader for recordings that are in the bucket already; consumed
// by the uploader and the tracker.
//
// With a Source, the media type, the size and the hash are not known before the event `stored`.
type Received struct {
	JobID       string `json:"job_id"`
	TokenID     int64  `json:"token_id"`
	TextGridURL string `json:"s3_textgrid_url,omitempty"` // this and PitchURL refer to the token's reference files, as in the catalogue
	PitchURL    string `json:"s3_pitch_url,omitempty"`
	FileName    string `json:"file_name,omitempty"` // name that the client sent: metadata, never a path
	MediaType   string `json:"media_type"`          // sniffed from the first bytes
	Size        int64  `json:"size"`                // bytes
	SHA256      string `json:"sha256"`              // hexadecimal; with Key, the hash that the client announced, or empty if it announced none
	Chunks      int    `json:"chunks"`              // number of messages in staging that contain the recording
	Key         string `json:"key,omitempty"`       // key of a recording that is already in the bucket, so that nothing is staged
	Entry       string `json:"entry,omitempty"`     // name of the entry in staging; if empty, the entry has the name of the job
	Owner       string `json:"owner,omitempty"`     // who uploaded the recording; a job without an owner is visible to admins only
	Source      string `json:"source,omitempty"`    // encrypted URL and headers from which the recording is fetched (package source)
	Fresh       bool   `json:"fresh,omitempty"`     // the client wants a new analysis, not a cached result
}

// Stored means that the recording is in the bucket. It contains everything that the dispatcher
// needs. Published by the uploader; consumed by the dispatcher and the tracker.
type Stored struct {
	JobID       string  `json:"job_id"`
	TokenID     int64   `json:"token_id"`
	TextGridURL string  `json:"s3_textgrid_url,omitempty"`
	PitchURL    string  `json:"s3_pitch_url,omitempty"`
	Bucket      string  `json:"bucket"`
	Key         string  `json:"key"`
	MediaType   string  `json:"media_type"`
	Size        int64   `json:"size"`
	SHA256      string  `json:"sha256"`
	Duration    float64 `json:"duration,omitempty"` // duration of the recording in seconds; 0 if unknown
	Attempt     int     `json:"attempt,omitempty"`  // number of the retry that made the uploader fetch the recording again; 0 for the first fetch, or without a fetch
}

// Attempted means that the dispatcher begins an attempt: it is about to send a request to the
// analysis server. Attempts are numbered from 1. After this event, callbacks of earlier attempts
// change nothing. Published by the dispatcher; consumed by the tracker.
type Attempted struct {
	JobID     string `json:"job_id"`
	Attempt   int    `json:"attempt"`
	ResultKey string `json:"result_key,omitempty"` // the key under which the result is cached; empty if it is not cached
}

// Dispatched means that the analysis server accepted the attempt. Published by the dispatcher;
// consumed by the dispatcher, which polls the status URL if there is one, and by the tracker.
type Dispatched struct {
	JobID         string `json:"job_id"`
	Attempt       int    `json:"attempt"`
	AnalysisJobID string `json:"analysis_job_id,omitempty"` // the analysis server's id of the analysis; empty if it returned none
	Unanswered    bool   `json:"unanswered,omitempty"`      // the server received the request but did not respond in time, or refused it when it was sent again
}

// Lapsed means that the analysis server accepted the attempt but did not report its outcome before
// the deadline. Published by the tracker; consumed by the tracker and by the dispatcher, which
// polls the status URL, begins the next attempt, or fails the job.
type Lapsed struct {
	JobID   string `json:"job_id"`
	Attempt int    `json:"attempt"`
}

// Completed ends a job with its result: inline, or as a reference to staging if it is large. The
// result may be that of an earlier job with the same recording; then no attempt was made, and
// Attempt is 0. Published by the dispatcher; consumed by the tracker, and by the dispatcher, which
// completes the jobs that wait for the same analysis.
type Completed struct {
	JobID        string          `json:"job_id"`
	Attempt      int             `json:"attempt"`
	Result       json.RawMessage `json:"result,omitempty"`
	ResultChunks int             `json:"result_chunks,omitempty"` // number of messages in staging that contain the result; 0 if the result is inline
	ResultEntry  string          `json:"result_entry,omitempty"`
	Warnings     []string        `json:"warnings,omitempty"` // corrections that were made to the report: codes in kebab case
	Cached       bool            `json:"cached,omitempty"`   // the result is that of the job in CachedFrom
	CachedFrom   string          `json:"cached_from,omitempty"`
}

// The warnings of a report.
const (
	WarningNonFinite = "non-finite-numbers" // NaN and infinities were replaced by null
	WarningNoResults = "no-results"         // the report has no results
)

// Failed ends a job without a result. Published by the uploader, the dispatcher and the tracker,
// each for its own reasons; consumed by the tracker, and by the dispatcher, which analyses the next
// of the jobs that wait for the same analysis. The other services read it in the log.
type Failed struct {
	JobID     string `json:"job_id"`
	Attempt   int    `json:"attempt,omitempty"` // the newest attempt of the log, so that each failure of a retried job has its own id; 0 before the first attempt
	Code      string `json:"code"`              // stable, in kebab case
	Detail    string `json:"detail"`            // for operators; clients get a sentence that belongs to the code
	Retryable bool   `json:"retryable"`         // the same job may succeed later
}

// Canceled ends a job on request. Published by the tracker; consumed by the tracker, and by the
// dispatcher, which asks the analysis server to cancel and analyses the next of the jobs that wait
// for the same analysis. The other services read it in the log.
type Canceled struct {
	JobID string `json:"job_id"`
	By    string `json:"by,omitempty"` // who requested the cancellation: an owner, or the id of an API key
}

// Retried continues a failed job: its recording is analysed again, in the attempt with the given
// number. After this event, callbacks of earlier attempts change nothing. If the recording could
// not be fetched, it is fetched again first. Published by the tracker; consumed by the dispatcher,
// the uploader and the tracker.
type Retried struct {
	JobID   string `json:"job_id"`
	Attempt int    `json:"attempt"`
	Fetch   bool   `json:"fetch,omitempty"` // the recording is not stored: it is fetched from the source in the event `received`
	By      string `json:"by,omitempty"`    // who requested the retry: an owner, or the id of an API key
}

// Expired means that the recording of an ended job must be removed, since recordings are kept for a
// limited time. The job's record and its result stay. After this event only `erased` may follow: a
// job without its recording cannot be retried. Published by the tracker; consumed by the uploader
// and the tracker.
type Expired struct {
	JobID string `json:"job_id"`
}

// Erased means that everything of the job must be removed: record, recording, result and events. It
// may follow any event, and no event follows it. When the removal is done, it is the only event of
// the log. Published by the tracker; consumed by the uploader, the tracker, and the dispatcher, which
// asks the analysis server to cancel and removes the job's result from its cache.
type Erased struct {
	JobID  string   `json:"job_id"`
	Staged []string `json:"staged,omitempty"` // entries of staging that were named in the purged events
	Owner  string   `json:"owner,omitempty"`  // owner of the job: besides admins, only the owner may know that the job existed
	By     string   `json:"by,omitempty"`     // who requested the erasure: an owner, or the id of an API key; empty if the job's token was deleted, or for another reason
	Reason string   `json:"reason,omitempty"` // reason of an erasure that no one requested: ReasonRetention

	// AnalysisJobID is the analysis server's own id of the newest analysis, for the request to
	// cancel the analysis; empty if there is none.
	AnalysisJobID string `json:"analysis_job_id,omitempty"`
}

// ReasonRetention means that a job was erased because results are kept for a limited time.
const ReasonRetention = "retention"

// Fetching is the progress of the fetch of a recording from its source, at most once a second, and
// after each try that failed. Published by the uploader; consumed by the tracker.
type Fetching struct {
	JobID   string `json:"job_id"`
	Attempt int    `json:"attempt,omitempty"` // number of the retry that made the uploader fetch again; 0 for the first fetch
	Bytes   int64  `json:"bytes"`
	Size    int64  `json:"size,omitempty"`   // bytes of the whole recording; 0 if the server did not declare it
	Try     int    `json:"try"`              // number of the try, from 1
	Code    string `json:"code,omitempty"`   // why the previous try failed: a code of FailureCodes
	Status  int    `json:"status,omitempty"` // HTTP status of the response to the previous try; 0 without a response
}

// Uploading is the progress of the copy into the bucket, at most once a second. Published by the
// uploader; consumed by the tracker.
type Uploading struct {
	JobID string `json:"job_id"`
	Bytes int64  `json:"bytes"`
	Size  int64  `json:"size"`
}

// Progressed is the progress that the analysis server reports. Published by the dispatcher;
// consumed by the tracker.
type Progressed struct {
	JobID   string `json:"job_id"`
	Attempt int    `json:"attempt"`
	Percent int    `json:"percent"` // progress of the analysis, 0..100
	Message string `json:"message,omitempty"`
}

// Waiting means that the attempt waits. If the analysis server is unavailable or busy, the attempt
// is sent again at the time Until. If the attempt is in the queue, or waits for another job with
// the same recording (CodeSameRecording), the end is not known, and Since is set. Published by the
// dispatcher each time that it delays the attempt, and every few minutes while the attempt waits
// for another job; consumed by the tracker.
type Waiting struct {
	JobID   string    `json:"job_id"`
	Attempt int       `json:"attempt"`
	Until   time.Time `json:"until,omitzero"` // UTC, when the attempt is sent again; zero if that is not known
	Since   time.Time `json:"since,omitzero"` // UTC, when the wait began; zero if Until is set
	Code    string    `json:"code"`           // the reason: stable, in kebab case
}

// CodeSameRecording is the code of Waiting for a job whose recording is being analysed for another
// job.
const CodeSameRecording = "same-recording-analysed"

// Granted means that a waiting attempt may be sent: its job has a slot (the right to one of the
// analyses that may run at the same time), or is the next of the jobs that waited for the same
// analysis. Published by the dispatcher; consumed by the dispatcher, which sends the attempt.
type Granted struct {
	JobID     string `json:"job_id"`
	Attempt   int    `json:"attempt"`
	Entry     uint64 `json:"entry"`                // sequence of the attempt in the stream in which it waited
	Unlimited bool   `json:"unlimited,omitempty"`  // no slot is needed: the number of analyses is not limited any more
	ResultKey string `json:"result_key,omitempty"` // key of the result for whose analysis the job waited; empty if it waited in the queue
}

// Refused means that the dispatcher refused a callback of the newest attempt, or the analysis
// server's response to its request, for the reason in Code and Detail. Published by the dispatcher;
// consumed by the tracker, and by the dispatcher, which polls the status URL if Outcome is set.
type Refused struct {
	JobID   string    `json:"job_id"`
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`                // UTC
	Code    string    `json:"code"`              // the reason: stable, in kebab case
	Detail  string    `json:"detail"`            // the reason in a sentence, for operators of the analysis server
	Outcome bool      `json:"outcome,omitempty"` // the refused callback may have been the outcome of the attempt
}

// Discarded records the outcome of an attempt that was no longer the newest when the analysis
// server reported it. It changes nothing. It exists for operators, since the analysis may have
// taken hours. Published by the dispatcher; consumed by no service.
type Discarded struct {
	JobID   string          `json:"job_id"`
	Attempt int             `json:"attempt"`
	Status  string          `json:"status"`           // completed or failed
	Detail  string          `json:"detail,omitempty"` // the reason, if Status is failed
	Result  json.RawMessage `json:"result,omitempty"` // omitted if it is too large for a message
}

// NewJobID makes a job id: a UUID of version 7, so that ids sort by time.
func NewJobID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make a job id: %w", err)
	}
	return id.String(), nil
}

// DeriveJobID makes a job id from another one and from further values: the same arguments give the
// same id. Its time is that of the other id.
func DeriveJobID(from string, values ...string) (string, error) {
	base, err := uuid.Parse(from)
	if err != nil {
		return "", fmt.Errorf("derive a job id from %q: %w", from, err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q", base, values))
	id := uuid.UUID(sum[:len(uuid.UUID{})])
	copy(id[:6], base[:6])                          // the time
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80 // the version, 7, and the variant (RFC 9562)
	return id.String(), nil
}

// ParseJobID parses a UUID in its canonical form and returns it in lower case. A job id becomes a
// part of NATS subjects, between two dots, so it must contain neither dots nor wildcards.
func ParseJobID(s string) (string, bool) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return "", false
	}
	return strings.ToLower(id.String()), true
}
