// Package job is the tracker's core: what the record of a job is, how events
// become one, and how its viewers learn of each change.
//
// Four things are guaranteed. A record is the same whatever the order in which
// its events arrive, in what batches and how often (Record.Merge), with the one
// exception that is told there. Its version grows by one with each change that a
// viewer can see, and with nothing else. A viewer who keeps watching sees versions
// that only grow, and in the end the last one (Hub). And of an erased job, or one
// of a deleted token, nothing is kept, whatever is heard of it and when (Eraser).
package job

import (
	"encoding/json"
	"time"

	"sori.internal/shared/fault"
	"sori.internal/shared/locale"
)

// Status is what a job is in.
type Status string

// The statuses.
const (
	Processing Status = "processing"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Canceled   Status = "canceled"
	Erased     Status = "erased" // no viewer is shown a job in it: it is gone
)

// Ended reports whether nothing more is to come.
func (s Status) Ended() bool { return s != Processing }

// Failure says why a job failed. The zero value is none.
type Failure struct {
	Code      string `json:"code"`
	Detail    string `json:"detail"`    // the words of whoever ended the job; viewers read a sentence by the code (In)
	Retryable bool   `json:"retryable"` // the same job may succeed later
}

// In is the failure as viewers read it, in a language.
func (f Failure) In(l locale.Language) Failure {
	f.Detail = locale.FailureText(l, f.Code, f.Detail)
	return f
}

// Result is what an analysis found, as JSON text; empty where there is none.
type Result string

// MarshalJSON implements json.Marshaler.
func (r Result) MarshalJSON() ([]byte, error) {
	if r == "" {
		return []byte("null"), nil
	}
	return []byte(r), nil
}

// maxDuration is the longest duration of a recording that is believed, in seconds: a
// week.
const maxDuration = 7 * 24 * 3600

// duration is the member "duration" of a result, in seconds; 0 where there is none
// that can be the duration of a recording.
func (r Result) duration() float64 {
	var told struct {
		Duration float64 `json:"duration"`
	}
	if json.Unmarshal([]byte(r), &told) != nil || told.Duration < 0 || told.Duration > maxDuration {
		return 0
	}
	return told.Duration
}

// Snapshot is one version of a job as viewers see it, in no language yet. Its
// JSON is what copies of the tracker tell each other; the result, which may be
// large, is not among it.
type Snapshot struct {
	JobID         string         `json:"job_id"`
	TokenID       int64          `json:"token_id"`
	Status        Status         `json:"status"`
	Stage         locale.Message `json:"stage"`
	Message       string         `json:"message,omitempty"`        // the analysis server's own words, in whatever language it speaks
	NextAttemptAt time.Time      `json:"next_attempt_at,omitzero"` // while it waits for the analysis server
	Reason        string         `json:"refused_code,omitempty"`   // while the last callback of the analysis server was refused: why
	Progress      int            `json:"progress"`
	Version       int64          `json:"version"`
	Error         Failure        `json:"error,omitzero"`
	Result        Result         `json:"-"`
	CreatedAt     time.Time      `json:"created_at"`
	UpdatedAt     time.Time      `json:"updated_at"`
}

// Text is the sentence that a viewer reads.
func (s Snapshot) Text(l locale.Language) string {
	return locale.TextAt(l, s.Stage, s.NextAttemptAt)
}

// NotFound is the failure of who asks for a job that does not exist.
func NotFound() error {
	return fault.New(fault.NotFound, "job-not-found", "There is no such job.")
}

// Gone is the failure of who asks for a job that was erased.
func Gone() error { return fault.New(fault.Gone, "job-erased", "The job was deleted.") }
