package analysis

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

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
