package analysis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// The methods that handle events may be called several times for the same event, even concurrently
// by several replicas. Their parameter backoff is the shortest delay before the event is
// redelivered if the method returns an error; 0 means that the event is not redelivered.

// Delivery is a delivery of an event.
type Delivery struct {
	Seq     uint64        // stream sequence of the event
	First   bool          // false for a redelivery
	Backoff time.Duration // the shortest delay before a redelivery
}

// HandleStored sends the first attempt for a stored recording. If results are cached, the job may be
// completed without an attempt.
func (d *Dispatcher) HandleStored(ctx context.Context, e event.Stored, delivery Delivery) error {
	first := attempt{number: max(1, e.Attempt), retry: e.Attempt, backoff: delivery.Backoff}
	if d.Results != nil && e.SHA256 != "" && e.Attempt == 0 { // a retry must not get a cached result
		return d.handleShared(ctx, e, delivery, first)
	}
	known := event.Log{{Event: e, Seq: delivery.Seq}}
	if d.Slots != nil || e.Attempt > 0 {
		known = nil // the log must be read: the queue needs the owner in the event received, and a retry needs the event retried
	}
	return d.makeAttempt(ctx, e, first, known)
}

// HandleRetried sends the next attempt for a failed job that is retried and whose recording is
// stored. The result of the attempt replaces a cached result.
func (d *Dispatcher) HandleRetried(ctx context.Context, e event.Retried, backoff time.Duration) error {
	if e.Fetch { // the recording must be fetched first; stored then begins the attempt
		return nil
	}
	log, err := d.Jobs.Read(ctx, e.JobID)
	if err != nil || log.Erased() { // an erased log does not have the location of the recording
		return err
	}
	recording, err := recordingOf(log)
	if err != nil {
		return err
	}
	key := d.keyOf(ctx, recording, log)
	return d.makeAttempt(ctx, recording, attempt{number: e.Attempt, retry: e.Attempt, backoff: backoff, key: key.Hash}, log)
}

// makeNextAttempt sends the next attempt after the server has lost the attempt with the given
// number, or has not reported on that attempt in time. If no further attempt is allowed,
// makeNextAttempt fails the job.
func (d *Dispatcher) makeNextAttempt(ctx context.Context, log event.Log, number int, backoff time.Duration) error {
	recording, err := recordingOf(log)
	if err != nil {
		return err
	}
	next, ok := nextAttempt(log, number, d.options.MaxAttempts)
	if !ok {
		zerolog.Ctx(ctx).Error().Int(logging.Attempt, number).Msg("analysis timed out after last attempt")
		return d.failAttempt(ctx, event.Failed{
			JobID: recording.JobID, Attempt: number, Code: event.CodeAnalysisTimeout, Retryable: true,
			Detail: "The analysis server took the request and did not report its outcome in time, or the report was refused.",
		})
	}
	next.backoff = backoff
	return d.makeAttempt(ctx, recording, next, log)
}

// makeAttempt begins an attempt, sends it, and records the server's answer. known is the log that
// the caller has read.
func (d *Dispatcher) makeAttempt(ctx context.Context, recording event.Stored, a attempt, known event.Log) error {
	log, send, begun, err := d.beginAttempt(ctx, recording.JobID, a, known)
	if err != nil || !send {
		return err
	}
	a.again = begun && !a.unsent
	request, err := d.request(ctx, recording, a.number)
	if err != nil {
		return err
	}
	if hasSlot, err := d.takeSlot(ctx, recording.JobID, a, log); err != nil || !hasSlot {
		return err // err is nil if the job has no slot: its attempt is in the queue
	}
	accepted, err := d.submit(ctx, request, a)
	if err != nil {
		return d.recordSubmitError(ctx, recording.JobID, a, log, err)
	}
	outcome, refused := accepted.outcome()
	if outcome != nil { // the server finished the analysis before it answered
		_, err := d.recordOutcome(ctx, recording.JobID, a.number, *outcome)
		return err
	}
	dispatched := event.Dispatched{JobID: recording.JobID, Attempt: a.number, AnalysisJobID: accepted.ServerID}
	if log, err = d.appendDispatched(ctx, dispatched, log); err != nil {
		return err
	}
	if refused != nil {
		d.refuseAnswer(ctx, Caller{job: recording.JobID, attempt: a.number}, refused)
	}
	return d.cancelIfAbandoned(ctx, recording.JobID, accepted.ServerID, log)
}

// refuseAnswer publishes that the server's answer to a request is refused, since it cannot be read
// and may have been the outcome. The request counts as accepted.
func (d *Dispatcher) refuseAnswer(ctx context.Context, from Caller, reason error) {
	logger := zerolog.Ctx(ctx).With().Int(logging.Attempt, from.attempt).Logger()
	logger.Warn().Err(reason).Msg("analysis answer refused")
	if err := d.publishRefused(ctx, from, RefusedCallback(reason)); err != nil {
		logger.Warn().Err(err).Msg("refusal not published")
	}
}

// beginAttempt appends the event `attempted` to the log if necessary, and reports whether the
// attempt must be sent (beginAttempt in rules.go decides both). begun reports whether the log had
// attempted before.
func (d *Dispatcher) beginAttempt(
	ctx context.Context, job string, a attempt, known event.Log,
) (log event.Log, send, begun bool, err error) {
	log, err = d.Jobs.Update(ctx, job, known, func(log event.Log) (e event.Event, _ error) {
		send, e = beginAttempt(log, job, a)
		begun = e == nil
		return e, nil
	})
	return log, send, begun, err
}

// request makes the request of an attempt, with URLs that the server can use.
func (d *Dispatcher) request(ctx context.Context, recording event.Stored, number int) (Request, error) {
	r := Request{
		JobID: recording.JobID, TokenID: recording.TokenID, Attempt: number, WebhookURL: d.Signer.URL(recording.JobID, number),
	}
	var err error
	if r.AudioURL, err = d.Links.Object(ctx, recording.Bucket, recording.Key); err != nil {
		return r, err
	}
	if recording.TextGridURL != "" {
		if r.TextGridURL, err = d.Links.Reference(ctx, recording.TextGridURL); err != nil {
			return r, err
		}
	}
	if recording.PitchURL != "" {
		if r.PitchURL, err = d.Links.Reference(ctx, recording.PitchURL); err != nil {
			return r, err
		}
	}
	return r, nil
}

// submit sends the request of an attempt and logs the server's answer. It does not log a temporary
// failure, which is logged when the event is settled.
func (d *Dispatcher) submit(ctx context.Context, r Request, a attempt) (Acceptance, error) {
	start := time.Now()
	accepted, err := d.Analyzer.Submit(ctx, r)
	if a.received(err) {
		err = fmt.Errorf("%w: %s", errReceived, err.Error()) // without the type of err, by which the job would fail
	}
	logger := zerolog.Ctx(ctx).With().Int(logging.Attempt, r.Attempt).Float64(logging.Took, logging.Millis(time.Since(start))).Logger()
	if rejected, ok := errors.AsType[*RejectedError](err); ok {
		logger.Error().Err(err).Bool("retryable", rejected.Retryable).Msg("analysis request rejected")
	} else if unanswered(ctx, err) {
		logger.Warn().Err(err).Msg("analysis request unanswered")
	} else if err == nil {
		logger.Info().Msg("analysis accepted")
	}
	return accepted, err
}

// errReceived means that the server has refused a request because it has received it before.
var errReceived = errors.New("the analysis server has received the request before")

// unanswered reports whether the server may have accepted a request that failed. It returns false
// if the request failed because this process stops: such a request is sent again.
func unanswered(ctx context.Context, err error) bool {
	return errors.Is(err, errReceived) || errors.Is(err, ErrUnanswered) && ctx.Err() == nil
}

// recordSubmitError records the failure of a request. A rejection fails the job, and a request
// without an answer counts as accepted. Any other error is returned, so that the attempt is sent
// again.
func (d *Dispatcher) recordSubmitError(ctx context.Context, job string, a attempt, log event.Log, err error) error {
	if rejected, ok := errors.AsType[*RejectedError](err); ok {
		return d.failAttempt(ctx, event.Failed{
			JobID: job, Attempt: a.number, Code: rejected.Code, Detail: rejected.Reason, Retryable: rejected.Retryable,
		})
	}
	if unanswered(ctx, err) {
		_, err := d.appendDispatched(ctx, event.Dispatched{JobID: job, Attempt: a.number, Unanswered: true}, log)
		return err
	}
	d.releaseSlot(ctx, job)
	d.publishDelay(ctx, job, a, fault.As(err))
	return err
}

// appendDispatched appends the event `dispatched` to the log if acceptAttempt allows it, and
// returns the log.
func (d *Dispatcher) appendDispatched(ctx context.Context, dispatched event.Dispatched, known event.Log) (event.Log, error) {
	return d.Jobs.Update(ctx, dispatched.JobID, known, func(log event.Log) (event.Event, error) {
		return acceptAttempt(log, dispatched), nil
	})
}

// failAttempt appends the event `failed` to the log, unless the job has ended or a newer attempt
// has begun.
func (d *Dispatcher) failAttempt(ctx context.Context, failed event.Failed) error {
	_, err := d.Jobs.Update(ctx, failed.JobID, nil, func(log event.Log) (event.Event, error) {
		return failAttempt(log, failed), nil
	})
	return err
}

// Fail appends the event `failed` to the log of a job, unless the job has ended. It is called when
// an event of the job becomes a dead letter.
func (d *Dispatcher) Fail(ctx context.Context, job string, f *fault.Error) error {
	_, err := d.Jobs.Update(ctx, job, nil, func(log event.Log) (event.Event, error) {
		return failJob(log, job, f), nil
	})
	if err != nil {
		return fmt.Errorf("fail job %s: %w", job, err)
	}
	return nil
}

// publishDelay publishes that an attempt waits because the server is unavailable, and when the
// attempt is sent again. After any other failure, or if the event is not redelivered, it publishes
// nothing.
func (d *Dispatcher) publishDelay(ctx context.Context, job string, a attempt, f *fault.Error) {
	if f.Kind != fault.Unavailable || a.backoff == 0 || ctx.Err() != nil {
		return
	}
	until := time.Now().Add(max(a.backoff, f.RetryAfter)).UTC()
	d.publishWaiting(ctx, event.Waiting{JobID: job, Attempt: a.number, Until: until, Code: f.Code})
}

// publishWaiting publishes that an attempt waits. If publishing fails, the attempt is sent all the
// same.
func (d *Dispatcher) publishWaiting(ctx context.Context, w event.Waiting) {
	if err := d.Progress.Publish(ctx, w); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("waiting not published")
	}
}
