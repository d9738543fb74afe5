package analysis

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/wait"
)

// The delays between polls of a running attempt, beside silence and Options.PollInterval.
const (
	unreachableDelay = 3 * time.Second // after the status URL could not be asked
	confirmDelay     = time.Second     // before an analysis that the server does not know counts as lost
	firstPollDelay   = time.Second     // after the acceptance, if the status URL never returned a status
	requestedDelay   = time.Second     // while the server has not answered the request
)

// HandleDispatched polls an attempt that the server has accepted for as long as it runs: it returns an
// error that says when to poll again. An outcome counts as if it came by a callback. If the server has
// lost the attempt, the next one follows at once, long before the deadline.
func (d *Dispatcher) HandleDispatched(ctx context.Context, e event.Dispatched, backoff time.Duration) error {
	log, err := d.Jobs.Read(ctx, e.JobID)
	if err != nil {
		return err
	}
	switch afterDispatched(log, e.Attempt) {
	case stepNext:
		return d.makeNextAttempt(ctx, log, e.Attempt, backoff)
	case stepPoll:
		delay, err := d.pollDelay(ctx, log, e.Attempt)
		if err != nil {
			return err
		}
		if delay > 0 {
			return pollAgain(min(delay, silence)) // until then it may have begun to report progress
		}
		return d.poll(ctx, log, e.Attempt, backoff)
	default:
		return nil
	}
}

// HandleRefused polls an attempt at once after a callback was refused that may have been its outcome.
// If it is still running, HandleDispatched goes on polling it.
func (d *Dispatcher) HandleRefused(ctx context.Context, e event.Refused, backoff time.Duration) error {
	if !e.Outcome {
		return nil
	}
	log, err := d.Jobs.Read(ctx, e.JobID)
	if err != nil {
		return err
	}
	switch afterRefused(log, e.Attempt) {
	case stepWait:
		return pollAgain(requestedDelay)
	case stepPoll:
		if err := d.poll(ctx, log, e.Attempt, backoff); fault.As(err) == nil || fault.As(err).Code != codeRunning {
			return err
		}
		return nil
	default:
		return nil
	}
}

// pollDelay is how long from now a running attempt need not be polled. A server whose status URL never
// returned a status is polled soon after it accepted, so that its later 404 can be told from one for
// an analysis that is lost.
func (d *Dispatcher) pollDelay(ctx context.Context, log event.Log, number int) (time.Duration, error) {
	now := time.Now()
	last, err := d.lastContact(ctx, log, number)
	if err != nil {
		return 0, err
	}
	delay := pollDelay(last, d.options.PollInterval, now)
	accepted := now.Sub(log[len(log)-1].Time)
	if delay <= 0 || accepted >= silence || !last.polled.IsZero() {
		return delay, nil
	}
	if seen, err := d.StatusSeen.IsSet(ctx); err != nil || seen {
		return delay, err
	}
	return min(delay, firstPollDelay-accepted), nil
}

// lastContact reads when there was contact with the server about a running attempt.
func (d *Dispatcher) lastContact(ctx context.Context, log event.Log, number int) (contact, error) {
	job := log[0].Event.Job()
	last := contact{heard: log[len(log)-1].Time, polled: d.polled.get(job)}
	e, at, err := d.Jobs.LastProgress(ctx, job)
	if err != nil || e == nil || e.Attempt != number {
		return last, err
	}
	last.progress = true
	if at.After(last.heard) {
		last.heard = at
	}
	return last, nil
}

// poll asks the status URL about a running attempt and acts on the answer.
func (d *Dispatcher) poll(ctx context.Context, log event.Log, number int, backoff time.Duration) error {
	job := log[0].Event.Job()
	r, err := d.status(ctx, job, log)
	if errors.Is(err, ErrUnknownAnalysis) {
		r, err = d.confirmUnknown(ctx, job, log)
	}
	switch {
	case errors.Is(err, ErrUnknownAnalysis):
		zerolog.Ctx(ctx).Warn().Int(logging.Attempt, number).Msg("analysis lost by its server")
		return d.makeNextAttempt(ctx, log, number, backoff)
	case err != nil:
		zerolog.Ctx(ctx).Debug().Err(err).Msg("analysis status unknown")
		return pollAgain(min(unreachableDelay, d.options.PollInterval))
	case r == nil || r.status == statusProcessing:
		d.polled.set(job, time.Now())
		return pollAgain(min(d.options.PollInterval, silence)) // until then it may have begun to report progress
	default:
		_, err := d.recordOutcome(ctx, job, number, *r)
		return err
	}
}

// confirmUnknown asks a second time about an analysis that the server does not know: another instance
// may know it, or the same one a moment later. If the status URL has never returned a status the
// server may have no such route, and its 404 says nothing: the result is nil then.
func (d *Dispatcher) confirmUnknown(ctx context.Context, job string, log event.Log) (*report, error) {
	seen, err := d.StatusSeen.IsSet(ctx)
	if err != nil {
		return nil, err
	}
	if !seen {
		d.noRoute.Do(func() {
			zerolog.Ctx(ctx).Warn().Str("setting", "ANALYSIS_STATUS_URL").
				Msg("status url answers 404 or 410 and has never returned a status: ignored, the setting may be wrong")
		})
		return nil, nil
	}
	if err := wait.For(ctx, confirmDelay); err != nil {
		return nil, err
	}
	return d.status(ctx, job, log)
}

// status asks the status URL about a job's newest accepted attempt. It returns nil if the answer has no
// status to act on. A status that can be read sets StatusSeen.
func (d *Dispatcher) status(ctx context.Context, job string, log event.Log) (*report, error) {
	dispatched, _ := event.Last[event.Dispatched](log)
	answer, err := d.Analyzer.Status(ctx, job, dispatched.AnalysisJobID)
	if err != nil {
		return nil, err
	}
	r, ok := parseStatus(answer)
	if !ok {
		return nil, nil
	}
	if err := d.StatusSeen.Set(ctx); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("flag that the status url works not set")
	}
	return &r, nil
}

// codeRunning is the code of an error that says that an analysis goes on.
const codeRunning = "analysis-running"

// pollAgain is the error that has an event delivered again after a delay. It is no failure.
func pollAgain(after time.Duration) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: codeRunning, RetryAfter: after, Logged: true,
		Detail: "The analysis goes on.",
	}
}
