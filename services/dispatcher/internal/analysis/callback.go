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

// Authenticate checks the query parameters of a callback's URL. It does not need the body: the body
// is read only if the signature is valid.
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

// SignatureInvalid returns the failure of a callback whose signature is missing, wrong or expired.
func SignatureInvalid(cause error) error {
	return fault.Wrap(fault.Unauthenticated, "signature-invalid",
		"The signature does not fit. Use the webhook URL exactly as it was given.", cause)
}

// Receive parses a callback's body and records the report. If it refuses the body, it publishes
// refused, which operators and the viewers of the job can see.
func (d *Dispatcher) Receive(ctx context.Context, from Caller, body Body) (Disposition, error) {
	r, err := body.parse()
	if err != nil {
		return Recorded, d.Refuse(ctx, from, r.status != statusProcessing, err)
	}
	if r.status == statusProcessing {
		return d.recordProgress(ctx, from, r)
	}
	return d.recordOutcome(ctx, from.job, from.attempt, r)
}

// Refuse publishes that a callback is refused, and returns reason. outcome is true if the callback
// may have been the outcome of the attempt. If the callback would change nothing anyway, Refuse
// publishes nothing. If publishing fails, it returns that error, so that the server calls back again.
func (d *Dispatcher) Refuse(ctx context.Context, from Caller, outcome bool, reason error) error {
	f := fault.As(reason)
	zerolog.Ctx(ctx).Warn().Err(reason).Str(logging.JobID, from.job).Int(logging.Attempt, from.attempt).Msg("callback refused")
	log, err := d.Jobs.Read(ctx, from.job)
	if err != nil {
		return err
	}
	if disposition, err := judgeCallback(log, from.attempt); err != nil || disposition != Recorded {
		return reason
	}
	err = d.Progress.Publish(ctx, event.Refused{
		JobID: from.job, Attempt: from.attempt, At: time.Now().UTC(), Code: f.Code, Detail: f.Detail, Outcome: outcome,
	})
	if err != nil {
		return err
	}
	return reason
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
