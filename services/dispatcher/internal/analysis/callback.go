package analysis

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// Caller is an analysis server with a valid signature for an attempt. Only Authenticate makes a
// Caller.
type Caller struct {
	job     string
	attempt int
}

// Job returns the job that the caller reports on.
func (c Caller) Job() string { return c.job }

// Authenticate checks the query parameters of a callback's URL. It fails with fault.Unauthenticated
// if the signature is not valid. It does not need the body, so that the caller reads the body only
// if the signature is valid.
func (d *Dispatcher) Authenticate(query url.Values) (Caller, error) {
	job, attempt := query.Get(ParamJob), query.Get(ParamAttempt)
	if job == "" {
		return Caller{}, fault.New(fault.Malformed, "job-id-missing", "The query parameter job_id is missing.")
	}
	id, ok := event.ParseJobID(job)
	if !ok {
		return Caller{}, fault.JobNotFound()
	}
	n, err := strconv.Atoi(attempt)
	if err != nil || n < 1 || !d.Signer.Valid(id, n, query.Get(ParamExpires), query.Get(ParamSignature)) {
		return Caller{}, SignatureInvalid(nil)
	}
	return Caller{job: id, attempt: n}, nil
}

// SignatureInvalid returns the error for a callback whose signature is missing, wrong or expired.
func SignatureInvalid(cause error) error {
	return fault.Wrap(fault.Unauthenticated, "signature-invalid",
		"The signature does not fit. Use the webhook URL exactly as it was given.", cause)
}

// Callback is a parsed callback: a report, or the reason why the callback is refused.
type Callback struct {
	report  report
	refused error
	outcome bool // false for progress; true for an outcome, or if the body could not be parsed
}

// ParseCallback parses the body of a callback.
func ParseCallback(body Body) Callback {
	r, err := body.parse()
	return Callback{report: r, refused: err, outcome: r.status != statusProcessing}
}

// RefusedCallback returns a refused callback, for a body that could not be read.
func RefusedCallback(reason error) Callback { return Callback{refused: reason, outcome: true} }

// Receive records the report of a callback. If the callback is refused, Receive publishes the event
// `refused`, so that operators and the viewers of the job can see the reason, and returns the
// reason as its error.
func (d *Dispatcher) Receive(ctx context.Context, from Caller, c Callback) (Disposition, error) {
	switch {
	case c.refused != nil:
		return Recorded, d.refuse(ctx, from, c)
	case c.outcome:
		return d.recordOutcome(ctx, from.job, from.attempt, c.report)
	default:
		return d.recordProgress(ctx, from, c.report)
	}
}

// refuse publishes that a callback is refused, and returns the reason. If publishing fails, it
// returns the error of publishing instead, so that the server calls back again.
func (d *Dispatcher) refuse(ctx context.Context, from Caller, c Callback) error {
	zerolog.Ctx(ctx).Warn().Err(c.refused).Str(logging.JobID, from.job).Int(logging.Attempt, from.attempt).Msg("callback refused")
	if err := d.publishRefused(ctx, from, c); err != nil {
		return err
	}
	return c.refused
}

// publishRefused publishes that a callback is refused. It publishes nothing if the callback would
// have had no effect, because the job has ended, is unknown or has a newer attempt.
func (d *Dispatcher) publishRefused(ctx context.Context, from Caller, c Callback) error {
	log, err := d.Jobs.Read(ctx, from.job)
	if err != nil {
		return err
	}
	if disposition, err := judgeCallback(log, from.attempt); err != nil || disposition != Recorded {
		return nil //nolint:nilerr // if the job is unknown, there is no log to publish to
	}
	f := fault.As(c.refused)
	return d.Progress.Publish(ctx, event.Refused{
		JobID: from.job, Attempt: from.attempt, At: time.Now().UTC(), Code: f.Code, Detail: f.Detail, Outcome: c.outcome,
	})
}

// recordProgress publishes the progress that a callback reports, at most once per progressInterval.
func (d *Dispatcher) recordProgress(ctx context.Context, from Caller, r report) (Disposition, error) {
	log, err := d.Jobs.Read(ctx, from.job)
	if err != nil {
		return Recorded, err
	}
	disposition, err := judgeCallback(log, from.attempt)
	if err != nil || disposition != Recorded || !d.throttle.setIfExpired(from.job, time.Now()) {
		return disposition, err
	}
	return Recorded, d.Progress.Publish(ctx, event.Progressed{
		JobID: from.job, Attempt: from.attempt, Percent: r.percent, Message: r.message,
	})
}

// recordOutcome ends a job with the outcome of its newest attempt. The outcome comes from a
// callback, the status URL or the answer to the request. The outcome of an old attempt is published
// as the event `discarded` and changes nothing.
func (d *Dispatcher) recordOutcome(ctx context.Context, job string, attempt int, r report) (Disposition, error) {
	disposition, err := d.appendOutcome(ctx, job, attempt, r)
	if err == nil && disposition == Stale {
		err = d.publishDiscarded(ctx, job, attempt, r)
	}
	return disposition, err
}

// appendOutcome appends the event `completed` or `failed`. Before it appends `completed`, it caches
// the result.
func (d *Dispatcher) appendOutcome(ctx context.Context, job string, attempt int, r report) (Disposition, error) {
	if r.status == statusFailed {
		return d.appendTerminal(ctx, attempt, event.Failed{
			JobID: job, Attempt: attempt, Code: r.code, Detail: r.reason, Retryable: r.retryable,
		}, nil)
	}
	completed := event.Completed{JobID: job, Attempt: attempt, Result: r.result, Warnings: r.warnings}
	cached, log := d.cacheResult(ctx, completed)
	disposition, err := d.appendCompleted(ctx, completed, log)
	d.confirmCached(ctx, cached, err == nil && disposition == Recorded, err)
	return disposition, err
}

// appendCompleted appends the event `completed`. If the result does not fit into the log,
// appendCompleted stages it first. known is the log that the caller has read, or nil.
func (d *Dispatcher) appendCompleted(ctx context.Context, completed event.Completed, known event.Log) (Disposition, error) {
	if d.fits(completed) {
		return d.appendTerminal(ctx, completed.Attempt, completed, known)
	}
	return d.stageAndAppend(ctx, completed)
}

// stageAndAppend stages the result in the parameter completed, and appends the event with a
// reference to the staged result instead. It reads the log first, so that a repeated callback
// stages nothing. If another event ends the job before this event is appended, stageAndAppend
// deletes the staged result again.
func (d *Dispatcher) stageAndAppend(ctx context.Context, completed event.Completed) (Disposition, error) {
	log, err := d.Jobs.Read(ctx, completed.JobID)
	if err != nil {
		return Recorded, err
	}
	if disposition, err := judgeCallback(log, completed.Attempt); err != nil || disposition != Recorded {
		return disposition, err
	}
	staged, err := d.Staging.Put(ctx, event.ResultEntry(completed.JobID), bytes.NewReader(completed.Result))
	if err != nil {
		return Recorded, err
	}
	completed.Result, completed.ResultEntry, completed.ResultChunks = nil, staged.Entry, staged.Chunks
	disposition, err := d.appendTerminal(ctx, completed.Attempt, completed, log)
	if err == nil && disposition == Recorded || fault.Is(err, fault.Unavailable) {
		return disposition, err // if it is unknown whether completed was appended, the sweeper decides later
	}
	if unstageErr := d.Staging.Delete(ctx, staged.Entry); unstageErr != nil {
		zerolog.Ctx(ctx).Warn().Err(unstageErr).Msg("result not unstaged, left to the sweeper")
	}
	return disposition, err
}

// appendTerminal appends a terminal event to a job's log if judgeCallback allows it. attempt is 0
// if the event belongs to no attempt.
func (d *Dispatcher) appendTerminal(
	ctx context.Context, attempt int, terminal event.Event, known event.Log,
) (disposition Disposition, err error) {
	job := terminal.Job()
	_, err = d.Jobs.Update(ctx, job, known, func(log event.Log) (event.Event, error) {
		var err error
		if disposition, err = judgeCallback(log, attempt); err != nil || disposition != Recorded {
			return nil, err
		}
		return terminal, nil
	})
	if err == nil && disposition == Recorded {
		d.wakeQueue() // the ended job has freed its slot
		if attempt > 0 {
			zerolog.Ctx(ctx).Info().Str(logging.JobID, job).Int(logging.Attempt, attempt).
				Str(logging.Event, string(terminal.Name())).Msg("analysis reported")
		}
	}
	return disposition, err
}

// publishDiscarded publishes the outcome of an old attempt. The event contains the result only if
// the result is small enough for the log.
func (d *Dispatcher) publishDiscarded(ctx context.Context, job string, attempt int, r report) error {
	discarded := event.Discarded{JobID: job, Attempt: attempt, Status: r.status, Detail: r.reason}
	if d.fits(event.Completed{JobID: job, Attempt: attempt, Result: r.result}) {
		discarded.Result = r.result
	}
	return d.Progress.Publish(ctx, discarded)
}

// crowded is the fraction of the stream of logs that may be used before only small results are
// stored in it. The rest of the stream is reserved for the events with which accepted jobs continue
// and end, and for the events that cancel, retry and erase jobs.
const crowded = 0.8

// maxCrowdedEvent is the size limit of an event with a result while the stream is crowded, in
// bytes.
const maxCrowdedEvent = 1 << 10

// fits reports whether completed, with its result, may be stored in the log. Neither the result nor
// the encoded event may be larger than half the largest message, or than maxCrowdedEvent while the
// stream of logs is crowded. It checks the encoded size too, because JSON escapes may make a result
// six times as long, but does not encode a result that is too large already.
func (d *Dispatcher) fits(completed event.Completed) bool {
	limit := d.Staging.MaxPayload() / 2
	if d.LogUsage.MaxUsed() >= crowded {
		limit = maxCrowdedEvent
	}
	if int64(len(completed.Result)) > limit {
		return false
	}
	encoded, err := json.Marshal(completed)
	return err == nil && int64(len(encoded)) <= limit
}
