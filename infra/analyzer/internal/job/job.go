// Package job accepts analyses, runs them, keeps their outcomes for a while and sends callbacks.
//
// It guarantees:
//
//  1. A request with the idempotency key of a job that is still kept returns this job and starts no analysis.
//  2. The number of accepted and unfinished jobs is bounded, and with it the number of goroutines: at most two for each
//     job.
//  3. The callbacks of a job are sent one after the other, the outcome last (unless a Behaviour changes that).
//  4. The work on a canceled job ends, and no further callback of the job is sent.
//  5. If a receiver may accept a callback later, the callback is repeated with growing and jittered delays, a limited
//     number of times.
//
// All state is in memory and is lost in a restart. The caller's next attempt then starts a new analysis.
package job

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// The reasons why a job (ErrFull, ErrStopping) or a behaviour (ErrBehaviour) is rejected.
var (
	ErrFull      = errors.New("queue full")
	ErrStopping  = errors.New("server stopping")
	ErrBehaviour = errors.New("impossible behaviour")
)

// Request describes the requested analysis.
type Request struct {
	AudioURL       string // http, https or s3 URL of the audio
	VideoID        string // the caller's id of the token; only logged
	WebhookURL     string // URL for callbacks, used exactly as given
	TextGridURL    string // URL of a TextGrid file; accepted but never fetched
	PitchURL       string // URL of the pitch reference; may be empty
	CallerID       string // the caller's job id; may be empty
	IdempotencyKey string // may be empty
	TraceParent    string // W3C trace context, forwarded with callbacks
	TraceState     string
}

// Failure is the reason why an analysis failed. Code and Detail are sent to the caller; Err is only logged.
type Failure struct {
	Code      string // stable, kebab-case
	Detail    string // a sentence for the user
	Retryable bool   // whether the same request may succeed later
	Err       error  // the cause; may be nil
}

// Error returns a description for the log.
func (f *Failure) Error() string {
	text := f.Code + ": " + f.Detail
	if f.Err != nil {
		text += ": " + f.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// codeFailed is the code of failures that have no more specific code.
const codeFailed = "analysis-failed"

// asFailure returns the *Failure that err wraps, or a retryable failure with codeFailed.
func asFailure(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{Code: codeFailed, Detail: "The recording could not be analysed.", Retryable: true, Err: err}
}

// Receipt is the result of an accepted request.
type Receipt struct {
	ID       string // this server's id of the analysis
	Replayed bool   // whether the job was accepted by an earlier request with the same idempotency key
	done     <-chan struct{}
}

// Delivered returns a channel that is closed when no more callbacks of the job will be sent: the outcome was delivered,
// its last attempt has failed, or the job was abandoned.
func (r Receipt) Delivered() <-chan struct{} { return r.done }

// The states of a job.
const (
	StatusProcessing = "processing"
	StatusCompleted  = "completed"
	StatusFailed     = "failed"
)

// Snapshot is the state of a job in responses of the status route.
type Snapshot struct {
	ID       string          `json:"job_id"`
	CallerID string          `json:"caller_job_id,omitempty"`
	Status   string          `json:"status"`
	Progress int             `json:"progress"` // 0..100
	Message  string          `json:"message,omitempty"`
	Results  json.RawMessage `json:"analysis_results,omitempty"`
	Error    string          `json:"error,omitempty"`
	Code     string          `json:"code,omitempty"`      // code of the error
	Retry    *bool           `json:"retryable,omitempty"` // the same request may succeed later
	Created  time.Time       `json:"created_at"`
	Updated  time.Time       `json:"updated_at"`
}

// Analyser performs the analysis of one request and returns its result as JSON. If the error wraps a *Failure, the
// caller gets the failure, otherwise a general failure. No error may contain a secret. An Analyser calls progress with
// 0..100, and only from its own goroutine.
type Analyser func(ctx context.Context, req Request, progress func(percent int, message string)) (json.RawMessage, error)

// callback is the JSON body of a callback.
type callback struct {
	Status   string          `json:"status"`
	Progress *int            `json:"progress,omitempty"`
	Message  string          `json:"message,omitempty"`
	Results  json.RawMessage `json:"analysis_results,omitempty"`
	Error    string          `json:"error,omitempty"`
	Code     string          `json:"code,omitempty"`
	Retry    *bool           `json:"retryable,omitempty"`
	ID       string          `json:"analysis_id"` // this server's id of the job, for the receiver's log
}
