package analysis

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// ErrUnknownAnalysis says that the server, asked how an analysis stands, knows of none.
// A server that has told a status before has lost what it had accepted, as servers do
// that are restarted. One that never has may not have the route at all: see HasStatus.
var ErrUnknownAnalysis = errors.New("the analysis server does not know the analysis")

// The times of a watch. A server that reports its progress has a pace: when it has been
// silent for longer than silence it is asked. One that has reported none is asked every
// Options.PollEvery.
const (
	silence     = 5 * time.Second
	unreachable = 3 * time.Second // until a server is asked again that could not be asked
	doubt       = time.Second     // until a server is asked again that knows of no analysis
	firstLook   = time.Second     // after its acceptance, at a server that has never told a status
)

// running reports whether an attempt is the server's: it has taken it, and nothing newer
// is known of the job.
func running(log event.Log, attempt int) bool {
	_, ended := log.Ending()
	dispatched, _ := event.Last[event.Dispatched](log)
	lapsed, _ := event.Last[event.Lapsed](log)
	return !ended && len(log) > 0 && log.Attempt() == attempt && dispatched.Attempt == attempt && lapsed.Attempt < attempt
}

// unfinished reports whether a watch has begun the attempt after the given one, since
// the server lost that, and the server does not have it yet. The attempt after one that
// lapsed is the lapse's.
func unfinished(log event.Log, attempt int) bool {
	_, ended := log.Ending()
	dispatched, _ := event.Last[event.Dispatched](log)
	lapsed, _ := event.Last[event.Lapsed](log)
	retried, _ := event.Last[event.Retried](log)
	return !ended && log.Attempt() == attempt+1 && dispatched.Attempt == attempt && lapsed.Attempt < attempt && retried.Attempt <= attempt
}

// beingAsked reports whether the server has not yet answered the request for an
// attempt.
func beingAsked(log event.Log, attempt int) bool {
	_, ended := log.Ending()
	attempted, _ := event.Last[event.Attempted](log)
	dispatched, _ := event.Last[event.Dispatched](log)
	return !ended && log.Attempt() == attempt && attempted.Attempt == attempt && dispatched.Attempt < attempt
}

// askIn is how long from now on a running attempt may be left alone, by when it was last
// heard of, when it was last asked about and whether it has reported progress; 0 or less
// is not at all. The longer a server is silent that has reported, the more rarely it is
// asked.
func askIn(heard, asked time.Time, reports bool, pollEvery time.Duration, now time.Time) time.Duration {
	quiet := pollEvery
	if reports {
		quiet = min(silence, pollEvery)
	}
	if asked.After(heard) {
		return min(max(quiet, asked.Sub(heard)), pollEvery) - now.Sub(asked)
	}
	return quiet - now.Sub(heard)
}

// Watch follows an attempt that the server has taken for as long as it runs, where the
// server tells how it stands: it returns an error that says when to look again. An
// outcome counts as its callback would. An attempt that the server has lost is followed
// by the next one at once, long before its deadline.
func (c *Core) Watch(ctx context.Context, d event.Dispatched, backoff time.Duration) error {
	log, err := c.journal.Log(ctx, d.JobID)
	if err != nil {
		return err
	}
	if unfinished(log, d.Attempt) {
		return c.next(ctx, log, d.Attempt, backoff)
	}
	if !running(log, d.Attempt) {
		return nil
	}
	wait, err := c.askIn(ctx, log, d.Attempt)
	if err != nil {
		return err
	}
	if wait > 0 {
		return lookAgain(min(wait, silence)) // by when it may have begun to report
	}
	return c.inquire(ctx, log, d.Attempt, backoff)
}

// askIn is how long from now on the server need not be asked about a running attempt.
func (c *Core) askIn(ctx context.Context, log event.Log, attempt int) (time.Duration, error) {
	now := time.Now()
	heard, reports, err := c.heard(ctx, log, attempt)
	if err != nil {
		return 0, err
	}
	asked := c.asked.get(log[0].Event.Job())
	wait := askIn(heard, asked, reports, c.opt.PollEvery, now)
	taken := now.Sub(log[len(log)-1].Time)
	if wait <= 0 || taken >= silence || !asked.IsZero() {
		return wait, nil
	}
	if proven, err := c.opt.HasStatus.IsSet(ctx); err != nil || proven {
		return wait, err
	}
	return min(wait, firstLook-taken), nil
}

// Inquire asks at once how an attempt stands whose outcome may have been refused; from
// then on it is watched like every other. A server may report before it has answered
// our request: its answer is waited for.
func (c *Core) Inquire(ctx context.Context, r event.Refused, backoff time.Duration) error {
	if !r.Outcome {
		return nil
	}
	log, err := c.journal.Log(ctx, r.JobID)
	if err != nil {
		return err
	}
	if beingAsked(log, r.Attempt) {
		return lookAgain(time.Second)
	}
	if !running(log, r.Attempt) {
		return nil
	}
	if err := c.inquire(ctx, log, r.Attempt, backoff); fault.As(err) == nil || fault.As(err).Code != codeRunning {
		return err
	}
	return nil
}

// heard is when a running attempt was last heard of, and whether by its progress.
func (c *Core) heard(ctx context.Context, log event.Log, attempt int) (at time.Time, reports bool, err error) {
	at = log[len(log)-1].Time
	e, told, err := c.journal.LastProgress(ctx, log[0].Event.Job())
	if err != nil || e == nil || e.Attempt != attempt {
		return at, false, err
	}
	if told.After(at) {
		at = told
	}
	return at, true, nil
}

// inquire asks the server how a running attempt stands.
func (c *Core) inquire(ctx context.Context, log event.Log, attempt int, backoff time.Duration) error {
	job := log[0].Event.Job()
	r, err := c.standing(ctx, job, log)
	if errors.Is(err, ErrUnknownAnalysis) {
		r, err = c.askAgain(ctx, job, log)
	}
	switch {
	case errors.Is(err, ErrUnknownAnalysis):
		zerolog.Ctx(ctx).Warn().Int(logging.Attempt, attempt).Msg("analysis lost by its server")
		return c.next(ctx, log, attempt, backoff)
	case err != nil:
		zerolog.Ctx(ctx).Debug().Err(err).Msg("analysis status unknown")
		return lookAgain(min(unreachable, c.opt.PollEvery))
	case r == nil || r.status == statusProcessing:
		c.asked.put(job, time.Now())
		return lookAgain(min(c.opt.PollEvery, silence)) // by when it may have begun to report
	default:
		_, err := c.outcome(ctx, job, attempt, *r)
		return err
	}
}

// askAgain asks a server once more that knows of no analysis: another instance may know
// it, or the same one in a moment. A server that has never told a status may have no such
// route: its 404 tells nothing.
func (c *Core) askAgain(ctx context.Context, job string, log event.Log) (*report, error) {
	proven, err := c.opt.HasStatus.IsSet(ctx)
	if err != nil {
		return nil, err
	}
	if !proven {
		c.noRoute.Do(func() {
			zerolog.Ctx(ctx).Warn().Str("setting", "ANALYSIS_STATUS_URL").
				Msg("analysis status is 404 or 410 although the server has told none yet: ignored, the setting may be wrong")
		})
		return nil, nil
	}
	if err := pause(ctx, doubt); err != nil {
		return nil, err
	}
	return c.standing(ctx, job, log)
}

// standing asks how an attempt stands; nil where the answer tells nothing to act on. A
// status that can be read shows that the server tells them.
func (c *Core) standing(ctx context.Context, job string, log event.Log) (*report, error) {
	d, _ := event.Last[event.Dispatched](log)
	answer, err := c.server.Status(ctx, job, d.AnalysisJobID)
	if err != nil {
		return nil, err
	}
	r, ok := parseStatus(answer)
	if !ok {
		return nil, nil
	}
	if err := c.opt.HasStatus.Set(ctx); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("status route not remembered")
	}
	return &r, nil
}

// next makes the attempt after the given one, or, after the last, fails the job.
func (c *Core) next(ctx context.Context, log event.Log, attempt int, backoff time.Duration) error {
	s, err := recording(log)
	if err != nil {
		return err
	}
	retried, _ := event.Last[event.Retried](log)
	if log.Attempt() == attempt && attempt-max(1, retried.Attempt)+1 >= c.opt.MaxAttempts {
		zerolog.Ctx(ctx).Error().Int(logging.Attempt, attempt).Msg("analysis given up")
		return c.refused(ctx, event.Failed{
			JobID: s.JobID, Attempt: attempt, Code: event.CodeAnalysisTimeout, Retryable: true,
			Detail: "The analysis server took the request and never reported.",
		})
	}
	return c.ask(ctx, s, turn{attempt: attempt + 1, retry: retried.Attempt, backoff: backoff}, log)
}

// codeRunning is the code of an error that says that an analysis goes on.
const codeRunning = "analysis-running"

// lookAgain is the error that has an event delivered again after a while. Nothing is
// wrong.
func lookAgain(after time.Duration) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: codeRunning, RetryAfter: after, Told: true,
		Detail: "The analysis goes on.",
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
