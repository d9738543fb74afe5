// Package job is the core of the tracker: the record of a job, and how events are merged into it.
// The package does no I/O.
//
// It guarantees:
//
//  1. A record is the same, in whatever order and batches its events arrive, and however often.
//     Record.Merge lists the exceptions.
//  2. The version of a record grows by one with each change that clients see, and with no other
//     change.
//  3. The record of an erased job contains no data of the job except its id, owner and token, its
//     times and version, and the progress that clients have seen.
package job

import (
	"time"

	"sori.internal/shared/fault"
	"sori.internal/shared/locale"
)

// Status is the state of a job.
type Status string

// The statuses.
const (
	Processing Status = "processing"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Canceled   Status = "canceled"
	Erased     Status = "erased" // clients do not see this status: they get 410
)

// Statuses returns the statuses that clients see: all but Erased.
func Statuses() []Status { return []Status{Processing, Completed, Failed, Canceled} }

// Ended reports whether the status is terminal.
func (s Status) Ended() bool { return s != Processing }

// Failure is the reason why a job failed. The zero value means no failure.
type Failure struct {
	Code      string `json:"code"`
	Detail    string `json:"detail"`    // text for operators; clients get a translated sentence for the code (In)
	Retryable bool   `json:"retryable"` // a retry of the job may succeed
}

// In returns the failure with the sentence that clients get, in the language l, as its Detail.
func (f Failure) In(l locale.Language) Failure {
	f.Detail = locale.FailureText(l, f.Code, f.Detail)
	return f
}

// Fetch is the progress of the uploader in fetching a recording from a URL. The zero value means
// that no recording is being fetched.
type Fetch struct {
	Bytes  int64  `json:"bytes"`
	Size   int64  `json:"size,omitempty"`   // size of the whole recording in bytes; 0 if unknown
	Try    int    `json:"try"`              // number of the try, from 1
	Code   string `json:"code,omitempty"`   // why the previous try failed
	Status int    `json:"status,omitempty"` // HTTP status of the answer to the previous try; 0 if there was no answer
}

// Snapshot is one version of a job as clients see it, but without texts in a language. Replicas of
// the tracker send snapshots to each other as JSON, without large results (package live).
type Snapshot struct {
	JobID         string    `json:"job_id"`
	Owner         string    `json:"owner,omitempty"` // if empty, only admins have access
	TokenID       int64     `json:"token_id"`
	FileName      string    `json:"file_name,omitempty"` // file name that the client sent
	Status        Status    `json:"status"`
	Stage         Stage     `json:"stage"`
	Message       string    `json:"message,omitempty"`        // text that the analysis server sent
	NextAttemptAt time.Time `json:"next_attempt_at,omitzero"` // in StageWaiting only
	WaitingCode   string    `json:"waiting_code,omitempty"`   // only in StageWaiting: why the job waits
	RefusedCode   string    `json:"refused_code,omitempty"`   // only in StageRefused: why the callback was refused
	Fetch         Fetch     `json:"fetch,omitzero"`           // in StageFetching only
	Progress      int       `json:"progress"`
	Version       int64     `json:"version"`
	Error         Failure   `json:"error,omitzero"`
	Result        Result    `json:"-"`
	Warnings      Warnings  `json:"-"`                // corrections that were made to the result
	Cached        bool      `json:"cached,omitempty"` // the result was copied from another job with the same recording
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
	EndedAt       time.Time `json:"ended_at,omitzero"` // zero if the job has not ended or is erased

	// AudioDeletedAt is when the recording was deleted because its retention had passed.
	AudioDeletedAt time.Time `json:"audio_deleted_at,omitzero"`
}

// Text returns the sentence about the stage that clients get, in the language l.
func (s Snapshot) Text(l locale.Language) string {
	return s.Stage.Text(l, s.NextAttemptAt, s.WaitingCode)
}

// Gone returns the error for a request about an erased job.
func Gone() error { return fault.New(fault.Gone, "job-erased", "The job was deleted.") }
