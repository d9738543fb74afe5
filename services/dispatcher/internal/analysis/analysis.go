// Package analysis is the dispatcher's core: it sends recordings to the analysis server, and
// records what the server reports.
//
// It has no state of its own: requests and responses are in the job's log. An attempt gets its
// number in the log before it is sent. The number is a fencing token: reports about an earlier
// attempt change nothing. After a crash, or while the server is unavailable, the same attempt is
// sent again with its number, so that the server can recognise a repetition. A callback may be
// early, late, repeated or forged: each is checked against its signature and the log.
//
// The rules are pure functions of the log (rules.go). The other files do the I/O. In this package
// "the server" is the analysis server.
package analysis

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"sori.internal/shared/event"
)

// JobLog reads the logs of jobs, and appends events to them.
type JobLog interface {
	// Read reads a job's log.
	Read(ctx context.Context, job string) (event.Log, error)
	// Received returns the event `received`, with which a job's log begins, and the time of the
	// event. It returns nil if the log has no received event, or if the event cannot be decoded.
	Received(ctx context.Context, job string) (*event.Received, time.Time, error)
	// Newest returns the event with which a job's log ends; nil if the log is empty.
	Newest(ctx context.Context, job string) (*event.Record, error)
	// Update appends to a job's log the event that decide returns for the log, or nothing if decide
	// returns nil. If another writer appended first, Update reads the log and calls decide again.
	// It returns the log that it passed to the last call of decide, with the new event. The
	// parameter known is the log if the caller has read it: then the first call of decide gets
	// known, and the log is not read before that call.
	Update(ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error)
	// LastProgress returns the newest progressed event of a job, and its time; nil if there is none.
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
	// Object returns the URL of a recording in Sori's bucket.
	Object(ctx context.Context, bucket, key string) (string, error)
	// Reference returns the URL of a reference file. The parameter ref may have any form that the
	// references of tokens may have.
	Reference(ctx context.Context, ref string) (string, error)
}

// Request is a request to the analysis server.
type Request struct {
	JobID       string
	TokenID     int64
	Attempt     int
	AudioURL    string
	TextGridURL string // empty if the token has none
	PitchURL    string // empty if the token has none
	WebhookURL  string
}

// Acceptance is the server's response to a request that it accepts.
type Acceptance struct {
	ServerID string // the server's id of the analysis; empty if the response has none
	Answer   []byte // the response as Body.JSON returns it; it may contain the results
	Unread   error  // why the response could not be read to its end; nil if it was read
}

// ErrUnanswered means that the server has received the whole request and did not respond in time.
// Many servers respond only when the analysis is done, and also call back. It is unknown whether
// the server has accepted the request. Therefore the attempt counts as accepted, and is not sent
// again.
var ErrUnanswered = errors.New("the analysis server did not answer in time")

// ErrUnknownAnalysis means that the status URL responded with 404 or 410. If the status URL has
// returned a status before, for any job, the server has lost the analysis, for example because it
// restarted. Otherwise the server may not have the route at all (Dependencies.StatusSeen).
var ErrUnknownAnalysis = errors.New("the analysis server does not know the analysis")

// ErrUnfinished means that the status URL responded with 202 or 204 and without a body: the analysis is
// not finished.
var ErrUnfinished = errors.New("the analysis is not finished")

// ErrNoServerID means that the status URL needs the server's id of the analysis, which is not known.
var ErrNoServerID = errors.New("the analysis server's id of the analysis is not known")

// CodeUnavailable is the code of an error with which the server has answered that it is unavailable or
// busy. RetryAfter of the error is the time that the server has asked for.
const CodeUnavailable = "analysis-unavailable"

// Analyzer is the analysis server.
type Analyzer interface {
	// Submit sends a request. After a *RejectedError or ErrUnanswered the caller must not send the
	// request again. After any other error the caller may send it again when the error's RetryAfter
	// has passed.
	Submit(ctx context.Context, r Request) (Acceptance, error)

	// Status requests the state of an analysis that the server has accepted. It returns the
	// response in the form of Body.JSON, or nil if there is no status URL. An error of the kind
	// fault.Unavailable means that the state may be known later.
	Status(ctx context.Context, job, serverID string) ([]byte, error)

	// Paused returns for how long Submit sends no requests because the server is unavailable; 0
	// means that it sends requests now.
	Paused() time.Duration

	// Cancel requests that the server cancels an analysis and deletes its result. It returns nil,
	// too, if the server does not know the analysis or does not support cancellation. If there is
	// no status URL, Cancel sends nothing and returns nil.
	Cancel(ctx context.Context, job, serverID string) error
}

// Flag is a boolean that all replicas share. It is false at first, and stays true once it is set.
type Flag interface {
	Set(ctx context.Context) error
	IsSet(ctx context.Context) (bool, error)
}

// LogUsage reports how full the stream of logs is.
type LogUsage interface {
	// MaxUsed returns the used fraction of the stream, from 0 to 1, as of about a second ago.
	MaxUsed() float64
}

// Dependencies has the dependencies of a Dispatcher.
type Dependencies struct {
	Jobs       JobLog
	Progress   Progress
	Staging    Staging
	Links      Links
	Analyzer   Analyzer
	Signer     *Signer
	Slots      Slots // slots of running analyses; nil means no limit
	Queue      Queue // attempts that wait for a slot
	Sharing    Sharing
	Results    Results // the cache; nil means that results are not cached
	Versions   Versions
	Counts     CacheCounts
	LogUsage   LogUsage
	StatusSeen Flag // set once the status URL has returned a status: from then on a 404 means that an analysis is lost
}

// Options has the settings of the operator.
type Options struct {
	MaxAttempts  int           // largest number of attempts of a job, counted from the upload or the newest retry
	PollInterval time.Duration // time between two polls of a running analysis

	AnalysisVersion string // version of the analysis: cached results of another version are not used
}

// Dispatcher begins attempts, receives callbacks, and polls running analyses.
type Dispatcher struct {
	Dependencies
	options Options

	throttle jobTimes      // by job: when this process last published progress
	polled   jobTimes      // by job: when this process last polled the status URL
	wake     chan struct{} // buffered: holds a value if the scheduler must check the queue now
	noRoute  sync.Once     // logs once that the status URL may be wrong, because it answers 404
	noStatus sync.Once     // logs once that the status URL may be wrong, because its answers have no status
	noID     sync.Once     // logs once that the status URL may be wrong, because the server returns no id of its own

	queued atomic.Pointer[QueueState] // state of the queue for the metrics
}

// New makes a Dispatcher.
func New(deps Dependencies, options Options) *Dispatcher {
	d := &Dispatcher{
		Dependencies: deps, options: options, wake: make(chan struct{}, 1),
		throttle: jobTimes{ttl: progressInterval}, polled: jobTimes{ttl: options.PollInterval},
	}
	d.queued.Store(&QueueState{})
	return d
}
