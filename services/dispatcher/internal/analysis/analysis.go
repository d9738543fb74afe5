// Package analysis is the dispatcher's core: it has the analysis server analyse recordings, and
// records what the server reports.
//
// It has no state of its own: what was requested and answered is in the job's log. An attempt gets
// its number there before it is sent, and that number fences: whatever the server reports on an
// earlier attempt changes nothing. After a crash or an unavailable server the same attempt is sent
// again with its number, so that the server can recognise a repetition. A callback may be early,
// late, repeated or forged: each is checked against its signature and the log.
//
// The rules are pure functions of the log (rules.go). What stands around them does the I/O.
package analysis

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"sori.internal/shared/event"
)

// JobLog is the log of the jobs.
type JobLog interface {
	// Read reads a job's log.
	Read(ctx context.Context, job string) (event.Log, error)
	// Update appends to a job's log the event that decide returns for it. If another writer appended
	// first, it reads the log and calls decide again. decide returns nil to append nothing. Update
	// returns the log that decide saw last, with the new event. known, unless nil, replaces the first
	// read.
	Update(ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error)
	// LastProgress returns the newest progress that the server reported of a job, and when; nil if
	// there is none.
	LastProgress(ctx context.Context, job string) (*event.Progressed, time.Time, error)
}

// Progress publishes progress events.
type Progress interface {
	Publish(ctx context.Context, e event.Event) error
}

// Staging stores results that are too large for an event.
type Staging interface {
	Put(ctx context.Context, entry string, r io.Reader) (event.Staged, error)
	Delete(ctx context.Context, entry string) error
	MaxPayload() int64
}

// Links turns references to objects into URLs that the analysis server can use.
type Links interface {
	// Object links to a recording in Sori's bucket.
	Object(ctx context.Context, bucket, key string) (string, error)
	// Reference links to what the catalogue refers to, in any form.
	Reference(ctx context.Context, ref string) (string, error)
}

// Request is what the analysis server is sent.
type Request struct {
	JobID       string
	TokenID     int64
	Attempt     int
	AudioURL    string
	TextGridURL string // empty if the token has none
	PitchURL    string // likewise
	WebhookURL  string
}

// Acceptance is the server's answer to a request that it accepts.
type Acceptance struct {
	ServerID string // the server's own id of the analysis; empty if it answers none
	Body     []byte // which may hold the results already
}

// ErrUnanswered says that the server has received the whole request and did not answer it in time.
// Many servers answer when they have finished, and call back all the same. Whether the server has
// accepted is not known, and the request is not repeated until that shows.
var ErrUnanswered = errors.New("the analysis server did not answer in time")

// ErrUnknownAnalysis says that the status URL answered that the server knows of no such analysis. A
// server that has returned a status before has lost what it had accepted, as servers do when they
// restart. One that never has may not have the route at all (Dependencies.StatusSeen).
var ErrUnknownAnalysis = errors.New("the analysis server does not know the analysis")

// Analyzer is the analysis server.
type Analyzer interface {
	// Submit sends a request. A *RejectedError is final. After ErrUnanswered the request must not be
	// repeated; after any other error it may be, but not before the error's RetryAfter.
	Submit(ctx context.Context, r Request) (Acceptance, error)

	// Status asks for the state of an analysis that the server has accepted and returns the body of
	// the answer; nil if there is no URL to ask.
	Status(ctx context.Context, job, serverID string) ([]byte, error)
}

// Flag becomes true once and stays true, for all replicas.
type Flag interface {
	Set(ctx context.Context) error
	IsSet(ctx context.Context) (bool, error)
}

// Dependencies are what a Dispatcher works with.
type Dependencies struct {
	Jobs       JobLog
	Progress   Progress
	Staging    Staging
	Links      Links
	Analyzer   Analyzer
	Signer     *Signer
	Slots      Slots // of running analyses; nil: no limit
	StatusSeen Flag  // the status URL has returned a status: a 404 there means that an analysis is lost
}

// Options are what the operator configures.
type Options struct {
	MaxAttempts  int           // for a job, counted from the upload or the newest retry
	PollInterval time.Duration // between two polls of a running analysis
}

// Dispatcher begins attempts, receives callbacks, and polls running analyses.
type Dispatcher struct {
	Dependencies
	options Options

	throttle  jobTimes      // when this process last published a job's progress
	polled    jobTimes      // when this process last polled a running analysis
	slotQueue chan struct{} // held by the one attempt of this process that looks for a slot
	noRoute   sync.Once     // the log says once that the status URL may be wrong
}

// New makes a Dispatcher.
func New(deps Dependencies, options Options) *Dispatcher {
	return &Dispatcher{
		Dependencies: deps, options: options, slotQueue: make(chan struct{}, 1),
		throttle: jobTimes{ttl: progressInterval}, polled: jobTimes{ttl: options.PollInterval},
	}
}
