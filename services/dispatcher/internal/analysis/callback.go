package analysis

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// Caller is an analysis server that has proven which attempt it speaks for. Only
// Authenticate makes one.
type Caller struct {
	job     string
	attempt int
}

// Reception is what became of a callback.
type Reception uint8

// The receptions. All of them are a 200.
const (
	Recorded Reception = iota // an event is durable
	Repeated                  // the job had ended already
	Stale                     // of an attempt that is no longer the newest
)

// Authenticate judges a callback by the job_id, attempt and sig of its URL, as
// they came. It needs no body: nobody else makes us read one.
func (c *Core) Authenticate(job, attempt, sig string) (Caller, error) {
	if job == "" {
		return Caller{}, fault.New(fault.Invalid, "job-id-missing", "The query parameter job_id is missing.")
	}
	id, ok := event.ParseJobID(job)
	if !ok {
		return Caller{}, fault.New(fault.NotFound, "job-not-found", "There is no such job.")
	}
	n, err := strconv.Atoi(attempt)
	if err != nil || n < 1 || !c.signer.Valid(id, n, sig) {
		return Caller{}, fault.New(fault.Unauthenticated, "signature-invalid",
			"The signature does not fit. Use the webhook URL exactly as it was given.")
	}
	return Caller{job: id, attempt: n}, nil
}

// Job is the job that the caller speaks for.
func (c Caller) Job() string { return c.job }

// Receive judges a callback's body and records what it says. What it refuses it tells:
// nobody else learns of it.
func (c *Core) Receive(ctx context.Context, from Caller, body Body) (Reception, error) {
	report, err := body.report()
	if err != nil {
		return Recorded, c.Refuse(ctx, from, report.status != statusProcessing, err)
	}
	if report.status == statusProcessing {
		return c.progress(ctx, from.job, from.attempt, report)
	}
	return c.outcome(ctx, from.job, from.attempt, report)
}

// report reads the body.
func (b Body) report() (report, error) {
	text, err := b.json()
	if err != nil {
		return report{}, err
	}
	return parseReport(text)
}

// Refuse tells that a callback is refused, which may have been the outcome, and returns
// why. A callback that changes nothing anyway is not told of. Where it cannot be told
// the caller is to come again.
func (c *Core) Refuse(ctx context.Context, from Caller, outcome bool, why error) error {
	f := fault.As(why)
	zerolog.Ctx(ctx).Warn().Err(why).Str(logging.JobID, from.job).Int(logging.Attempt, from.attempt).Msg("callback refused")
	log, err := c.journal.Log(ctx, from.job)
	if err != nil {
		return err
	}
	if reception, err := judge(log, from.attempt); err != nil || reception != Recorded {
		return why
	}
	err = c.journal.Tell(ctx, event.Refused{
		JobID: from.job, Attempt: from.attempt, At: time.Now().UTC(), Code: f.Code, Detail: f.Detail, Outcome: outcome,
	})
	if err != nil {
		return err
	}
	return why
}

// judge reads the log as far as a callback goes: it returns a reception other
// than Recorded where the callback changes nothing. What is reported of an erased
// job is not even kept as that of an old attempt is.
func judge(log event.Log, attempt int) (Reception, error) {
	if len(log) == 0 {
		return Recorded, fault.New(fault.NotFound, "job-not-found", "There is no such job.")
	}
	if log.Erased() {
		return Repeated, nil
	}
	if attempt < log.Attempt() {
		return Stale, nil
	}
	if _, ended := log.Ending(); ended {
		return Repeated, nil
	}
	return Recorded, nil
}

func (c *Core) progress(ctx context.Context, job string, attempt int, r report) (Reception, error) {
	log, err := c.journal.Log(ctx, job)
	if err != nil {
		return Recorded, err
	}
	reception, err := judge(log, attempt)
	if err != nil || reception != Recorded || !c.pace.allow(job, time.Now()) {
		return reception, err
	}
	return Recorded, c.journal.Tell(ctx, event.Progressed{
		JobID: job, Attempt: attempt, Percent: r.percent, Message: r.message,
	})
}

// outcome ends the job with what the server found. What it found in an earlier
// attempt is kept, and changes nothing.
func (c *Core) outcome(ctx context.Context, job string, attempt int, r report) (Reception, error) {
	reception, err := c.conclude(ctx, job, attempt, r)
	if err == nil && reception == Stale {
		err = c.journal.Tell(ctx, c.discarded(job, attempt, r))
	}
	return reception, err
}

func (c *Core) conclude(ctx context.Context, job string, attempt int, r report) (Reception, error) {
	ending, discard, err := c.ending(ctx, job, attempt, r)
	if err != nil {
		return Recorded, err
	}
	if ending == nil { // settled before anything was made
		return discard.reception, nil
	}
	var reception Reception
	_, err = c.journal.Decide(ctx, job, nil, func(log event.Log) (event.Event, error) {
		var err error
		if reception, err = judge(log, attempt); err != nil || reception != Recorded {
			return nil, err
		}
		return ending, nil
	})
	if err == nil && reception == Recorded {
		zerolog.Ctx(ctx).Info().Str(logging.JobID, job).Int(logging.Attempt, attempt).
			Str(logging.Event, string(ending.Name())).Msg("analysis reported")
		return Recorded, nil
	}
	if discard.entry != "" && !fault.Is(err, fault.Unavailable) { // unknown outcome: the sweeper decides
		if dropErr := c.staging.Unstage(ctx, discard.entry); dropErr != nil {
			zerolog.Ctx(ctx).Warn().Err(dropErr).Msg("refused result left to the sweeper")
		}
	}
	return reception, err
}

// discarded makes the event of an outcome that came too late.
func (c *Core) discarded(job string, attempt int, r report) event.Discarded {
	d := event.Discarded{JobID: job, Attempt: attempt, Status: r.status, Detail: r.reason}
	if c.fits(event.Completed{JobID: job, Attempt: attempt, Result: r.result}) {
		d.Result = r.result
	}
	return d
}

// leftover is what is to be forgotten where an ending is refused.
type leftover struct {
	entry     string
	reception Reception
}

// ending makes the event of an outcome. A result too large for a message is
// staged; the log is read before, so that repetitions do not stage it again.
func (c *Core) ending(ctx context.Context, job string, attempt int, r report) (event.Event, leftover, error) {
	if r.status == statusFailed {
		return event.Failed{JobID: job, Attempt: attempt, Code: r.code, Detail: r.reason, Retryable: r.retryable}, leftover{}, nil
	}
	completed := event.Completed{JobID: job, Attempt: attempt, Result: r.result, Warnings: r.warnings}
	if c.fits(completed) {
		return completed, leftover{}, nil
	}
	log, err := c.journal.Log(ctx, job)
	if err != nil {
		return nil, leftover{}, err
	}
	if reception, err := judge(log, attempt); err != nil || reception != Recorded {
		return nil, leftover{reception: reception}, err
	}
	staged, err := c.staging.Stage(ctx, event.ResultEntry(job), bytes.NewReader(r.result))
	if err != nil {
		return nil, leftover{}, err
	}
	completed.Result, completed.ResultEntry, completed.ResultChunks = nil, staged.Entry, staged.Chunks
	return completed, leftover{entry: staged.Entry}, nil
}

// fits reports whether a message holds a result as it will travel: escapes may
// make it six times as long.
func (c *Core) fits(completed event.Completed) bool {
	encoded, err := json.Marshal(completed)
	return err == nil && int64(len(encoded)) <= c.staging.MaxPayload()/2
}
