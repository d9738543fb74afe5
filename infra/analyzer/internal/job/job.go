// Package job accepts analyses, runs them, remembers their outcomes for a while and calls back.
//
// It guarantees: a request with a known idempotency key is answered with the analysis that the key began, and none is done twice; the number
// of accepted and unfinished jobs is bounded, and so are the goroutines, one or two for each; the callbacks of a job go out one after the
// other, the outcome last (unless a Behaviour says otherwise); a callback that the receiver could take later is repeated with growing
// jittered delay, within a bound. Everything is in memory: a restart forgets, and the caller's next attempt begins anew.
package job

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Reasons for which a job or a setting is refused.
var (
	ErrFull      = errors.New("queue full")
	ErrStopping  = errors.New("server stopping")
	ErrBehaviour = errors.New("impossible behaviour")
)

// Request is what a caller asks for.
type Request struct {
	AudioURL       string // http, https or s3 URL of the audio
	VideoID        string // the caller's name for the reference, kept for the log
	WebhookURL     string // called exactly as given
	TextGridURL    string // accepted and not read
	PitchURL       string // reference contour; may be empty
	CallerID       string // the caller's job id; may be empty
	IdempotencyKey string // may be empty
	TraceParent    string // W3C trace context, passed on with callbacks
	TraceState     string
}

// Failure is why an analysis has no results. Code and Detail go to the caller, Err to the log alone.
type Failure struct {
	Code      string // stable, kebab-case
	Detail    string // a sentence for a person
	Retryable bool   // the same request may succeed later
	Err       error  // the cause; may be nil
}

// Error returns what happened for the log.
func (f *Failure) Error() string {
	text := f.Code + ": " + f.Detail
	if f.Err != nil {
		text += ": " + f.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// codeFailed is the code of a failure that nobody gave another.
const codeFailed = "analysis-failed"

// asFailure returns the failure inside err, or one that says nothing but that the analysis failed.
func asFailure(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{Code: codeFailed, Detail: "The recording could not be analysed.", Retryable: true, Err: err}
}

// Receipt answers an accepted request.
type Receipt struct {
	ID       string // this server's id of the analysis
	Replayed bool   // the idempotency key was known
	done     <-chan struct{}
}

// Delivered is closed once the outcome was delivered or given up.
func (r Receipt) Delivered() <-chan struct{} { return r.done }

// The states of a job.
const (
	StatusProcessing = "processing"
	StatusCompleted  = "completed"
	StatusFailed     = "failed"
)

// Snapshot is the state of a job, as the status route shows it.
type Snapshot struct {
	ID       string          `json:"job_id"`
	CallerID string          `json:"caller_job_id,omitempty"`
	Status   string          `json:"status"`
	Progress int             `json:"progress"` // 0..100
	Message  string          `json:"message,omitempty"`
	Results  json.RawMessage `json:"analysis_results,omitempty"`
	Error    string          `json:"error,omitempty"`
	Code     string          `json:"code,omitempty"`      // of the error
	Retry    *bool           `json:"retryable,omitempty"` // whether the same request may succeed later
	Created  time.Time       `json:"created_at"`
	Updated  time.Time       `json:"updated_at"`
}

// Analyser does the work for one request and returns the JSON of its result. A *Failure says what the caller is told; of other errors
// the caller learns nothing. No error names a secret.
// Progress takes 0..100 and may be called from the analysing goroutine alone.
type Analyser func(ctx context.Context, req Request, progress func(percent int, message string)) (json.RawMessage, error)

// callback is the body of a webhook.
type callback struct {
	Status   string          `json:"status"`
	Progress *int            `json:"progress,omitempty"`
	Message  string          `json:"message,omitempty"`
	Results  json.RawMessage `json:"analysis_results,omitempty"`
	Error    string          `json:"error,omitempty"`
	Code     string          `json:"code,omitempty"`
	Retry    *bool           `json:"retryable,omitempty"`
	ID       string          `json:"analysis_id"` // this server's id, for the receiver's log
}
