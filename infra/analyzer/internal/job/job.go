// Package job accepts analyses, runs them, keeps their outcomes for a while and sends callbacks.
//
// It guarantees:
//
//  1. A request with a known idempotency key returns the analysis that was started with the key. No analysis runs twice.
//  2. The number of accepted and unfinished jobs is bounded, and with it the number of goroutines: one or two for each
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

// The reasons why a job or a behaviour is rejected.
var (
	ErrFull      = errors.New("queue full")
	ErrStopping  = errors.New("server stopping")
	ErrBehaviour = errors.New("impossible behaviour")
)

// Request describes the requested analysis.
type Request struct {
	AudioURL       string // http, https or s3 URL of the audio
	VideoID        string // the caller's name for the reference, only for the log
	WebhookURL     string // called exactly as given
	TextGridURL    string // accepted but not read
	PitchURL       string // reference contour; may be empty
	CallerID       string // the caller's job id; may be empty
	IdempotencyKey string // may be empty
	TraceParent    string // W3C trace context, forwarded with callbacks
	TraceState     string
}

// Failure is the reason why an analysis failed. Code and Detail are sent to the caller; Err is only logged.
type Failure struct {
	Code      string // stable, kebab-case
	Detail    string // a sentence for people
	Retryable bool   // the same request may succeed later
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

// codeFailed is the code of a failure without a specific code.
const codeFailed = "analysis-failed"

// asFailure returns the failure that err wraps, or a general failure.
func asFailure(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{Code: codeFailed, Detail: "The recording could not be analysed.", Retryable: true, Err: err}
}

// Receipt is the result of an accepted request.
type Receipt struct {
	ID       string // this server's id of the analysis
	Replayed bool   // the idempotency key was known
	done     <-chan struct{}
}

// Delivered returns a channel that is closed when the outcome was delivered, or when its delivery is not tried again.
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

// Analyser performs the analysis of one request and returns its result as JSON. A *Failure is reported to the caller;
// for any other error the caller gets a general failure. No error may contain a secret. An Analyser calls progress with
// 0..100, and only from its own goroutine.
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
