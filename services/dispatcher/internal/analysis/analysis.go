// Package analysis is the dispatcher's core: the talk with the analysis server,
// both ways.
//
// It keeps no state of its own: what was asked and answered is in the job's log.
// An attempt is numbered there before the server is asked, and that number
// fences: whatever an earlier attempt still sends changes nothing. Asking again
// for the same attempt, after a crash or a refusal, keeps the number, so that
// the server can tell a repetition. A callback may be early, late, repeated or
// forged; each is judged against the log and a signature.
package analysis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// Journal is the log of the jobs.
type Journal interface {
	Log(ctx context.Context, job string) (event.Log, error)
	Decide(ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error)
	Tell(ctx context.Context, e event.Event) error
	// LastProgress returns what was last told of a job's progress, and when; nil where
	// nothing was.
	LastProgress(ctx context.Context, job string) (*event.Progressed, time.Time, error)
}

// Staging takes results that are too large for an event.
type Staging interface {
	Stage(ctx context.Context, entry string, r io.Reader) (event.Staged, error)
	Unstage(ctx context.Context, entry string) error
	MaxPayload() int64
}

// Links turns references to objects into URLs that the analysis server can use.
type Links interface {
	// Object links to a recording of ours.
	Object(ctx context.Context, bucket, key string) (string, error)
	// Reference links to what the catalogue refers to, in any form.
	Reference(ctx context.Context, ref string) (string, error)
}

// Request is what the analysis server is asked for.
type Request struct {
	JobID       string
	TokenID     int64
	Attempt     int
	AudioURL    string
	TextGridURL string // empty where the token has none
	PitchURL    string
	WebhookURL  string
}

// Acceptance is the server's answer to a request that it accepts.
type Acceptance struct {
	ServerID string // the server's own id of the request; empty where it tells none
	Body     []byte // which may hold the results already
}

// ErrUnanswered says that the server has the request and did not answer it in time.
// Many answer when they have finished, and report by callback all the same: whether it
// has accepted is not known, and it is not asked again before that shows.
var ErrUnanswered = errors.New("the analysis server did not answer in time")

// Server is the analysis server.
type Server interface {
	// Ask hands over a request. A *Rejected is the server's final word; any other
	// error may be asked again, not before its RetryAfter, but for one that is
	// ErrUnanswered.
	Ask(ctx context.Context, r Request) (Acceptance, error)

	// Status asks how an analysis stands that the server has accepted, and returns
	// its words; nothing where it cannot be asked.
	Status(ctx context.Context, job, serverID string) ([]byte, error)
}

// Fact is something that becomes true once and stays true, for all replicas.
type Fact interface {
	Set(ctx context.Context) error
	IsSet(ctx context.Context) (bool, error)
}

// Core is the dispatcher's rules.
type Core struct {
	journal Journal
	staging Staging
	links   Links
	server  Server
	signer  *Signer
	opt     Options
	pace    pace
	queue   chan struct{} // whoever looks for a slot, one at a time

	asked   times     // when this process asked how an attempt stands that goes on
	noRoute sync.Once // the log tells once that the status URL leads nowhere
}

// Options are what the operator decides.
type Options struct {
	MaxAttempts int           // that the server is asked for, from the upload or a retry on
	PollEvery   time.Duration // between two looks at an analysis that runs
	Running     Slots         // of the analyses that run; nil is no bound
	HasStatus   Fact          // the server has told a status: the status URL leads to where it does
}

// New makes a core.
func New(journal Journal, staging Staging, links Links, server Server, signer *Signer, opt Options) *Core {
	return &Core{
		journal: journal, staging: staging, links: links, server: server, signer: signer, opt: opt,
		queue: make(chan struct{}, 1), asked: times{keep: opt.PollEvery},
	}
}

// Dispatch asks the server to analyse a stored recording, whose event is at seq.
// It may run again, and at the same time in another copy. Where an error says
// that it should, that is after backoff at the least; 0 is never. That holds of
// Redispatch and Lapse too.
func (c *Core) Dispatch(ctx context.Context, s event.Stored, seq uint64, backoff time.Duration) error {
	return c.ask(ctx, s, turn{attempt: 1, backoff: backoff}, event.Log{{Event: s, Seq: seq}})
}

// Redispatch asks the server once more, for a job that was opened again. The
// recording is where it was.
func (c *Core) Redispatch(ctx context.Context, r event.Retried, backoff time.Duration) error {
	log, err := c.journal.Log(ctx, r.JobID)
	if err != nil || log.Erased() { // whose log does not tell where it was
		return err
	}
	s, err := recording(log)
	if err != nil {
		return err
	}
	return c.ask(ctx, s, turn{attempt: r.Attempt, retry: r.Attempt, backoff: backoff}, log)
}

// recording is where the job's audio is.
func recording(log event.Log) (event.Stored, error) {
	s, ok := event.Last[event.Stored](log)
	if !ok {
		return s, fault.New(fault.Invalid, "recording-unknown", "It is not known where the audio is stored.")
	}
	return s, nil
}

// turn says which attempt is to be made.
type turn struct {
	attempt int
	retry   int           // on whose behalf: the attempt that it asked for, 0 before the first
	backoff time.Duration // the least until it is made again, where the server is away; 0 where it is not
}

// ask makes an attempt.
func (c *Core) ask(ctx context.Context, s event.Stored, t turn, known event.Log) error {
	log, due, err := c.begin(ctx, s.JobID, t, known)
	if err != nil || !due {
		return err
	}
	attempt := t.attempt
	request, err := c.request(ctx, s, attempt)
	if err != nil {
		return err
	}
	if err := c.takeRoom(ctx, s.JobID); err != nil {
		c.putOff(ctx, s.JobID, t, fault.As(err))
		return err
	}
	start := time.Now()
	accepted, err := c.server.Ask(ctx, request)
	line := zerolog.Ctx(ctx).With().Int(logging.Attempt, attempt).Float64(logging.Took, logging.Millis(time.Since(start))).Logger()
	if no, ok := errors.AsType[*Rejected](err); ok {
		line.Error().Err(err).Bool("retryable", no.Retryable).Msg("analysis refused")
		return c.refused(ctx, event.Failed{JobID: s.JobID, Attempt: attempt, Code: no.Code, Detail: no.Reason, Retryable: no.Retryable})
	}
	if errors.Is(err, ErrUnanswered) && ctx.Err() == nil {
		line.Warn().Err(err).Msg("analysis request unanswered")
		return c.accepted(ctx, event.Dispatched{JobID: s.JobID, Attempt: attempt, Unanswered: true}, log)
	}
	if err != nil {
		c.leaveRoom(ctx, s.JobID)
		c.putOff(ctx, s.JobID, t, fault.As(err))
		return err
	}
	if r, ok := parseAnswer(accepted.Body); ok {
		line.Info().Msg("analysis answered")
		_, err := c.outcome(ctx, s.JobID, attempt, r)
		return err
	}
	line.Info().Msg("analysis accepted")
	return c.accepted(ctx, event.Dispatched{JobID: s.JobID, Attempt: attempt, AnalysisJobID: accepted.ServerID}, log)
}

// putOff tells the job's viewers that the server is away or busy, and when it is
// asked again. Where that cannot be told, it happens all the same.
func (c *Core) putOff(ctx context.Context, job string, t turn, f *fault.Error) {
	if f.Kind != fault.Unavailable || t.backoff == 0 || ctx.Err() != nil {
		return
	}
	until := time.Now().Add(max(t.backoff, f.RetryAfter)).UTC()
	if err := c.journal.Tell(ctx, event.Waiting{JobID: job, Attempt: t.attempt, Until: until, Code: f.Code}); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("wait not told")
	}
}

// begin numbers the attempt in the log, or finds it numbered where a crash or a
// refusal interrupted it. It is not due where the job has ended or moved on, or
// the server has it already.
func (c *Core) begin(ctx context.Context, job string, t turn, known event.Log) (log event.Log, due bool, err error) {
	log, err = c.journal.Decide(ctx, job, known, func(log event.Log) (event.Event, error) {
		due = false
		retried, _ := event.Last[event.Retried](log)
		if _, ended := log.Ending(); ended || len(log) == 0 || retried.Attempt != t.retry || log.Attempt() > t.attempt {
			return nil, nil
		}
		attempted, _ := event.Last[event.Attempted](log)
		dispatched, _ := event.Last[event.Dispatched](log)
		if due = dispatched.Attempt < t.attempt; due && attempted.Attempt < t.attempt {
			return event.Attempted{JobID: job, Attempt: t.attempt}, nil
		}
		return nil, nil
	})
	return log, due, err
}

func (c *Core) request(ctx context.Context, s event.Stored, attempt int) (Request, error) {
	r := Request{JobID: s.JobID, TokenID: s.TokenID, Attempt: attempt, WebhookURL: c.signer.URL(s.JobID, attempt)}
	var err error
	if r.AudioURL, err = c.links.Object(ctx, s.Bucket, s.Key); err != nil {
		return r, err
	}
	if s.TextGridURL != "" {
		if r.TextGridURL, err = c.links.Reference(ctx, s.TextGridURL); err != nil {
			return r, err
		}
	}
	if s.PitchURL != "" {
		if r.PitchURL, err = c.links.Reference(ctx, s.PitchURL); err != nil {
			return r, err
		}
	}
	return r, nil
}

// accepted says dispatched, unless the job has moved on: the callback may have
// been quicker than the server's own answer.
func (c *Core) accepted(ctx context.Context, d event.Dispatched, known event.Log) error {
	_, err := c.journal.Decide(ctx, d.JobID, known, func(log event.Log) (event.Event, error) {
		if _, ended := log.Ending(); ended || log.Attempt() != d.Attempt {
			return nil, nil
		}
		if told, ok := event.Last[event.Dispatched](log); ok && told.Attempt == d.Attempt {
			return nil, nil
		}
		return d, nil
	})
	return err
}

// refused fails a job by the server's word on an attempt that is still the newest.
func (c *Core) refused(ctx context.Context, failed event.Failed) error {
	return c.end(ctx, failed.JobID, func(log event.Log) event.Event {
		if log.Attempt() != failed.Attempt {
			return nil
		}
		return failed
	})
}

// Fail ends the job of a message that no redelivery can mend. A defect of ours may
// be mended later, so that such a job may succeed then; bad input stays what it is.
func (c *Core) Fail(ctx context.Context, job string, f *fault.Error) error {
	err := c.end(ctx, job, func(log event.Log) event.Event {
		return event.Failed{JobID: job, Attempt: log.Attempt(), Code: f.Code, Detail: f.Detail, Retryable: f.Kind.Retryable()}
	})
	if err != nil {
		return fmt.Errorf("fail job %s: %w", job, err)
	}
	return nil
}

// end ends a job that has not ended, where ending makes an event of its log.
func (c *Core) end(ctx context.Context, job string, ending func(event.Log) event.Event) error {
	_, err := c.journal.Decide(ctx, job, nil, func(log event.Log) (event.Event, error) {
		if _, ended := log.Ending(); ended || len(log) == 0 {
			return nil, nil
		}
		return ending(log), nil
	})
	return err
}
