package analysis

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/wait"
)

// Further delays between polls of a running attempt, besides silence and Options.PollInterval.
const (
	unreachableDelay = 3 * time.Second // after the status URL could not be reached
	confirmDelay     = time.Second     // after the server answered that it does not know the analysis
	requestedDelay   = time.Second     // while the server has not yet answered the request of the attempt
	maxPollDelay     = time.Hour       // longest delay that a server can request
)

// HandleDispatched polls the status URL about an accepted attempt. While the analysis runs,
// HandleDispatched returns an error with the delay until the next poll. It records a reported
// outcome like that of a callback. If the server has lost the attempt, HandleDispatched sends the
// next attempt at once, without waiting for the deadline.
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
			return pollAgain(min(delay, silence)) // after this time the server may have reported progress
		}
		return d.poll(ctx, log, e.Attempt, backoff)
	default:
		return nil
	}
}

// HandleRefused polls the status URL at once if the refused callback may have been the outcome of
// the attempt. If the attempt is still running, HandleDispatched continues to poll.
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

// pollDelay returns the time until a running attempt must be polled. While it is unknown whether
// the status URL works (StatusSeen), pollDelay returns 0 for the first poll after the acceptance.
// If that poll returns a status, a later 404 means that the analysis is lost.
func (d *Dispatcher) pollDelay(ctx context.Context, log event.Log, number int) (time.Duration, error) {
	now := time.Now()
	last, err := d.lastContact(ctx, log, number)
	if err != nil {
		return 0, err
	}
	delay := pollDelay(last, d.options.PollInterval, now)
	accepted := log[len(log)-1].Time
	if delay <= 0 || now.Sub(accepted) >= silence || !last.polled.IsZero() {
		return delay, nil
	}
	if seen, err := d.StatusSeen.IsSet(ctx); err != nil || seen {
		return delay, err
	}
	return 0, nil
}

// lastContact returns when the server and this process last had contact about a running attempt.
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

// poll polls the status URL about a running attempt and handles the answer.
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
		return pollAgain(max(min(unreachableDelay, d.options.PollInterval), requestedPause(err)))
	case r == nil || r.status == statusProcessing:
		d.polled.set(job, time.Now())
		return pollAgain(min(d.options.PollInterval, silence)) // after this time the server may have reported progress
	default:
		_, err := d.recordOutcome(ctx, job, number, *r)
		return err
	}
}

// requestedPause returns for how long the server has asked not to be polled, at most maxPollDelay; 0 if
// it has not asked for that.
func requestedPause(err error) time.Duration {
	if f := fault.As(err); f.Code == CodeUnavailable {
		return min(f.RetryAfter, maxPollDelay)
	}
	return 0
}

// confirmUnknown polls once more, after confirmDelay, because the server has answered that it does
// not know the analysis. Another instance of the server may know the analysis, or the same instance
// a moment later. A second 404 is returned as ErrUnknownAnalysis.
//
// If the status URL has never returned a status, the setting may name a route that does not exist,
// and a 404 does not mean that the analysis is lost. In this case confirmUnknown polls again only
// after the first poll about the analysis, and returns nil in place of ErrUnknownAnalysis.
func (d *Dispatcher) confirmUnknown(ctx context.Context, job string, log event.Log) (*report, error) {
	seen, err := d.StatusSeen.IsSet(ctx)
	if err != nil {
		return nil, err
	}
	if !seen && !d.polled.get(job).IsZero() {
		return nil, nil
	}
	if err := wait.For(ctx, confirmDelay); err != nil {
		return nil, err
	}
	r, err := d.status(ctx, job, log)
	if errors.Is(err, ErrUnknownAnalysis) && !seen {
		d.warnOnce(ctx, &d.noRoute, "status url answers 404 or 410 and has never returned a status: ignored, the setting may be wrong")
		return nil, nil
	}
	return r, err
}

// warnOnce logs that the status URL is of no use, unless the process has logged this before.
func (d *Dispatcher) warnOnce(ctx context.Context, once *sync.Once, message string) {
	once.Do(func() { zerolog.Ctx(ctx).Warn().Str("setting", "ANALYSIS_STATUS_URL").Msg(message) })
}

// status polls the status URL about a job's newest accepted attempt. It returns nil if the answer
// has no usable status. A status that can be parsed sets StatusSeen, and so does ErrUnfinished.
func (d *Dispatcher) status(ctx context.Context, job string, log event.Log) (*report, error) {
	dispatched, _ := event.Last[event.Dispatched](log)
	answer, err := d.Analyzer.Status(ctx, job, dispatched.AnalysisJobID)
	if errors.Is(err, ErrNoServerID) {
		if !dispatched.Unanswered { // without an answer to the request, no server could have returned an id
			d.warnOnce(ctx, &d.noID, "analysis server returned no id of its own: status url is not polled")
		}
		return nil, nil
	}
	r, ok := report{status: statusProcessing}, errors.Is(err, ErrUnfinished)
	if err != nil && !ok {
		return nil, err
	}
	if !ok {
		r, ok = parseStatus(answer)
	}
	if !ok {
		if len(answer) > 0 {
			d.warnOnce(ctx, &d.noStatus, "status url returns no usable status: ignored, the setting may be wrong")
		}
		return nil, nil
	}
	if err := d.StatusSeen.Set(ctx); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("flag that the status url works not set")
	}
	return &r, nil
}

// codeRunning is the code of the error with which a handler requests the next poll of a running
// analysis.
const codeRunning = "analysis-running"

// pollAgain returns the error with which a handler requests that its event is redelivered after a
// delay. The error is not logged as a failure.
func pollAgain(after time.Duration) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: codeRunning, RetryAfter: after, Logged: true,
		Detail: "The analysis goes on.",
	}
}
