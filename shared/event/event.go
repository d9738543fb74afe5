// Package event defines the events that the services exchange: a flat struct for each, their
// subjects, the streams that store them, and the log of a job that they form.
//
// Events are CloudEvents 1.0 in binary mode: the struct is the body, a readable JSON object, and
// the attributes are headers (package bus). Events hold identifiers and references, never bytes
// and never presigned URLs. Fields are only added, with zero values that older readers may ignore;
// any other change is a new type. Every struct has a golden file in testdata.
package event

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Name is the last token of an event's subject.
type Name string

// The state events, which form a job's log, the progress events, which never
// change a status, and what is said of tokens.
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
	NameErased     Name = "erased"

	NameUploading  Name = "uploading"
	NameProgressed Name = "progressed"
	NameWaiting    Name = "waiting"
	NameRefused    Name = "refused"
	NameDiscarded  Name = "discarded"

	NameDeleted Name = "deleted" // a token's
)

// Progress reports whether the name is a progress event's.
func (n Name) Progress() bool {
	return n == NameUploading || n == NameProgressed || n == NameWaiting || n == NameRefused || n == NameDiscarded
}

// Terminal reports whether a job has ended where its log ends with this event. A
// failed job alone may go on: retried opens it again. Whatever ended a job, it may
// be erased; after that nothing is said of it.
func (n Name) Terminal() bool {
	return n == NameCompleted || n == NameFailed || n == NameCanceled || n == NameErased
}

// Event is a fact about one job, or about a token.
type Event interface {
	// Name tells which fact it is.
	Name() Name
	// Job is the id of the job that it is about; empty where that is a token.
	Job() string
	// Occurrence tells apart the events of one name and one job: the attempt,
	// the progress, the second. Empty where there can be but one.
	Occurrence() string
}

// ID is the event's identity, ce-id and Nats-Msg-Id alike. The same fact has the
// same id whoever publishes it and however often, and no other fact has it.
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

// Type is the CloudEvents type: audio.job.stored.v1, audio.progress.uploading.v1,
// audio.token.deleted.v1.
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

// Received says that an upload is durable: its bytes are staged. It opens a
// job's log. Published by the gateway; heard by the uploader and the tracker.
type Received struct {
	JobID       string `json:"job_id"`
	TokenID     int64  `json:"token_id"`
	TextGridURL string `json:"s3_textgrid_url,omitempty"` // the token's references, as the catalogue holds them
	PitchURL    string `json:"s3_pitch_url,omitempty"`
	FileName    string `json:"file_name,omitempty"` // what the client called it: metadata, never a path
	MediaType   string `json:"media_type"`          // by its magic bytes
	Size        int64  `json:"size"`                // bytes
	SHA256      string `json:"sha256"`              // hexadecimal
	Chunks      int    `json:"chunks"`              // messages in staging
	Entry       string `json:"entry,omitempty"`     // of staging, where it is not named after the job
}

// Stored says that the recording is in the bucket. Published by the uploader;
// heard by the dispatcher, which finds here all that it needs, and the tracker.
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
	Duration    float64 `json:"duration,omitempty"` // seconds, where the audio's header tells it
}

// Attempted says that the dispatcher is about to ask the analysis server, for
// the Attempt-th time (from 1). It fences: callbacks of earlier attempts change
// nothing from here on. Published by the dispatcher; heard by the tracker.
type Attempted struct {
	JobID   string `json:"job_id"`
	Attempt int    `json:"attempt"`
}

// Dispatched says that the analysis server accepted the attempt. Published by
// the dispatcher; heard by the tracker.
type Dispatched struct {
	JobID         string `json:"job_id"`
	Attempt       int    `json:"attempt"`
	AnalysisJobID string `json:"analysis_job_id,omitempty"` // the server's own id, where it told one
	Unanswered    bool   `json:"unanswered,omitempty"`      // the server has the request and did not answer in time
}

// Lapsed says that the analysis server took the attempt and did not report in its
// time. Published by the tracker; heard by the dispatcher, which asks how it
// stands, makes the next attempt or gives up, and the tracker.
type Lapsed struct {
	JobID   string `json:"job_id"`
	Attempt int    `json:"attempt"`
}

// Completed ends a job with its result, either inline or, where it is large, as
// a reference to staging. Published by the dispatcher; heard by the tracker.
type Completed struct {
	JobID        string          `json:"job_id"`
	Attempt      int             `json:"attempt"`
	Result       json.RawMessage `json:"result,omitempty"`
	ResultChunks int             `json:"result_chunks,omitempty"` // messages in staging below ResultEntry
	ResultEntry  string          `json:"result_entry,omitempty"`
	Warnings     []string        `json:"warnings,omitempty"` // what was mended in the report: codes, kebab-case
}

// The warnings about a report.
const (
	WarningNonFinite = "non-finite-numbers" // NaN and infinities became null
	WarningNoResults = "no-results"         // completed without any: the result is empty
)

// Failed ends a job without a result. Published by the uploader, the dispatcher
// and the tracker, each for its own reasons; heard by all of them.
type Failed struct {
	JobID     string `json:"job_id"`
	Attempt   int    `json:"attempt,omitempty"` // the newest of the log, so that a failure after a retry is another one; 0 before the first
	Code      string `json:"code"`              // stable, kebab-case
	Detail    string `json:"detail"`            // in the words of whoever ended the job; viewers read a sentence by the code
	Retryable bool   `json:"retryable"`         // the same job may succeed later
}

// Canceled ends a job because somebody asked for it. Published by the tracker;
// heard by all.
type Canceled struct {
	JobID string `json:"job_id"`
}

// Retried opens a failed job again: its recording is to be analysed once more, as
// the Attempt-th attempt. From here on callbacks of earlier attempts change
// nothing. Published by the tracker; heard by the dispatcher and the tracker.
type Retried struct {
	JobID   string `json:"job_id"`
	Attempt int    `json:"attempt"`
}

// Erased says that nothing of the job is to be kept: neither its record, nor its
// recording and result, nor what was said of it. It may follow any event; nothing
// follows it, and in the end it is all that the log holds. Published by the
// tracker; heard by the uploader and the tracker.
type Erased struct {
	JobID  string   `json:"job_id"`
	Staged []string `json:"staged,omitempty"` // entries of staging that the log named, which goes
}

// Uploading tells how far the copy into the bucket is, at most once a second.
// Published by the uploader; heard by the tracker.
type Uploading struct {
	JobID string `json:"job_id"`
	Bytes int64  `json:"bytes"`
	Size  int64  `json:"size"`
}

// Progressed passes on what the analysis server says of its own progress.
// Published by the dispatcher; heard by the tracker.
type Progressed struct {
	JobID   string `json:"job_id"`
	Attempt int    `json:"attempt"`
	Percent int    `json:"percent"` // of the analysis, 0..100
	Message string `json:"message,omitempty"`
}

// Waiting says that the analysis server is away or busy, and when the attempt is
// made again. Published by the dispatcher, whenever it puts the attempt off; heard
// by the tracker.
type Waiting struct {
	JobID   string    `json:"job_id"`
	Attempt int       `json:"attempt"`
	Until   time.Time `json:"until"` // UTC
	Code    string    `json:"code"`  // why: stable, kebab-case
}

// Refused says that a callback of the newest attempt was refused, and why. Published
// by the dispatcher; heard by the dispatcher, which asks how an attempt stands whose
// outcome may have been refused, and the tracker.
type Refused struct {
	JobID   string    `json:"job_id"`
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`                // UTC
	Code    string    `json:"code"`              // why: stable, kebab-case
	Detail  string    `json:"detail"`            // the same in a sentence, for whoever mends the server
	Outcome bool      `json:"outcome,omitempty"` // it may have been the attempt's last word
}

// Discarded keeps what the analysis server found in an attempt that was not the
// newest any more when it reported: it changes nothing, and may have cost hours.
// Published by the dispatcher; read by whoever wonders.
type Discarded struct {
	JobID   string          `json:"job_id"`
	Attempt int             `json:"attempt"`
	Status  string          `json:"status"`           // completed or failed
	Detail  string          `json:"detail,omitempty"` // why it failed
	Result  json.RawMessage `json:"result,omitempty"` // where a message holds it
}

// Decode reads the event that was published on subject (without a namespace).
// Unknown fields are ignored; a body that is no event of that name and of that job
// or token is an error.
func Decode(subject string, body []byte) (Event, error) {
	about, name, err := parse(subject)
	if err != nil {
		return nil, err
	}
	e, err := decode(name, body)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", subject, err)
	}
	if EntityID(e) != about {
		return nil, fmt.Errorf("decode %s: the body is of %q", subject, EntityID(e))
	}
	return e, nil
}

func decode(name Name, body []byte) (Event, error) {
	switch name {
	case NameReceived:
		return as[Received](body)
	case NameStored:
		return as[Stored](body)
	case NameAttempted:
		return as[Attempted](body)
	case NameDispatched:
		return as[Dispatched](body)
	case NameLapsed:
		return as[Lapsed](body)
	case NameCompleted:
		return as[Completed](body)
	case NameFailed:
		return as[Failed](body)
	case NameCanceled:
		return as[Canceled](body)
	case NameRetried:
		return as[Retried](body)
	case NameErased:
		return as[Erased](body)
	case NameUploading:
		return as[Uploading](body)
	case NameProgressed:
		return as[Progressed](body)
	case NameWaiting:
		return as[Waiting](body)
	case NameRefused:
		return as[Refused](body)
	case NameDiscarded:
		return as[Discarded](body)
	case NameDeleted:
		return as[TokenDeleted](body)
	default:
		return nil, fmt.Errorf("unknown event %q", name)
	}
}

func as[E Event](body []byte) (Event, error) {
	var e E
	err := json.Unmarshal(body, &e)
	return e, err
}

// NewJobID makes a job id: a UUID of version 7, so that ids sort by time.
func NewJobID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make a job id: %w", err)
	}
	return id.String(), nil
}

// ParseJobID checks that s is a UUID in its one canonical form: what becomes a
// token of a subject must hold neither dots nor wildcards.
func ParseJobID(s string) (string, bool) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return "", false
	}
	return strings.ToLower(id.String()), true
}
