package analysis

import (
	"context"
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
