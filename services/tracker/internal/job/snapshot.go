// Package job is the tracker's domain: what the record of a job is, and how events are merged into
// it. It is pure: it reads and writes nothing.
//
//  1. A record is the same whatever the order in which its events arrive, in what batches and how
//     often. Record.Merge lists the exceptions.
//  2. The version of a record grows by one with each change that clients see, and with no other.
//  3. The record of an erased job holds nothing of it but that it existed.
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
	Erased     Status = "erased" // clients do not see it: they are answered that the job is gone
)

// Statuses are those that clients see: all but Erased.
func Statuses() []Status { return []Status{Processing, Completed, Failed, Canceled} }

// Ended reports whether the status is terminal.
func (s Status) Ended() bool { return s != Processing }

// Failure says why a job failed. The zero value is no failure.
type Failure struct {
	Code      string `json:"code"`
	Detail    string `json:"detail"`    // in the words of whoever failed the job; clients read a sentence for the code (In)
	Retryable bool   `json:"retryable"` // the same job may succeed later
}

// In is the failure as clients read it, in a language.
func (f Failure) In(l locale.Language) Failure {
	f.Detail = locale.FailureText(l, f.Code, f.Detail)
	return f
}

// Snapshot is one version of a job as clients see it, in no language yet. Replicas of the tracker
// send each other its JSON, without the result, which may be large.
type Snapshot struct {
	JobID         string    `json:"job_id"`
	Owner         string    `json:"owner,omitempty"` // empty: the job belongs to admins
	TokenID       int64     `json:"token_id"`
	Status        Status    `json:"status"`
	Stage         Stage     `json:"stage"`
	Message       string    `json:"message,omitempty"`        // the analysis server's own words, in its language
	NextAttemptAt time.Time `json:"next_attempt_at,omitzero"` // in StageWaiting only
	RefusedCode   string    `json:"refused_code,omitempty"`   // in StageRefused only: why
	Progress      int       `json:"progress"`
	Version       int64     `json:"version"`
	Error         Failure   `json:"error,omitzero"`
	Result        Result    `json:"-"`
	Warnings      Warnings  `json:"-"` // about the result, with which it is read
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

// Text is the sentence that clients read.
func (s Snapshot) Text(l locale.Language) string { return s.Stage.Text(l, s.NextAttemptAt) }

// Gone is the error for a job that was erased.
func Gone() error { return fault.New(fault.Gone, "job-erased", "The job was deleted.") }
