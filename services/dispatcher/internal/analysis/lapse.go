package analysis

import (
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// Lapse sees to an attempt that the server took and did not report on in its
// time. Where the server tells how it stands, that counts as its callback would;
// an analysis that goes on is asked for again later, until the job's deadline
// ends it. Else the next attempt is made, or, after the last, the job fails.
func (c *Core) Lapse(ctx context.Context, l event.Lapsed, backoff time.Duration) error {
	log, err := c.journal.Log(ctx, l.JobID)
	if err != nil {
		return err
	}
	retried, _ := event.Last[event.Retried](log)
	if _, ended := log.Ending(); ended || len(log) == 0 || retried.Attempt > l.Attempt {
		return nil
	}
	s, err := recording(log)
	if err != nil {
		return err
	}
	if log.Attempt() == l.Attempt { // else the next attempt was begun, and may be unfinished
		settled, err := c.poll(ctx, l, log)
		if settled || err != nil {
			return err
		}
		if l.Attempt-max(1, retried.Attempt)+1 >= c.opt.MaxAttempts {
			zerolog.Ctx(ctx).Error().Int(logging.Attempt, l.Attempt).Msg("analysis given up")
			return c.refused(ctx, event.Failed{
				JobID: l.JobID, Attempt: l.Attempt, Code: event.CodeAnalysisTimeout, Retryable: true,
				Detail: "The analysis server took the request and never reported.",
			})
		}
	}
	return c.ask(ctx, s, turn{attempt: l.Attempt + 1, retry: retried.Attempt, backoff: backoff}, log)
}

// poll asks the server how an attempt stands. It is settled where the server
// tells its outcome; an error says that it goes on. A server that cannot be asked,
// or whose answer says neither, leaves it open.
func (c *Core) poll(ctx context.Context, l event.Lapsed, log event.Log) (settled bool, err error) {
	d, _ := event.Last[event.Dispatched](log)
	answer, err := c.server.Status(ctx, l.JobID, d.AnalysisJobID)
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("analysis status unknown")
		return false, nil
	}
	r, ok := parseStatus(answer)
	switch {
	case !ok:
		return false, nil
	case r.status == statusProcessing:
		return false, &fault.Error{
			Kind: fault.Unavailable, Code: "analysis-running", RetryAfter: c.opt.PollEvery,
			Detail: "The analysis takes longer than expected and goes on.",
		}
	default:
		_, err = c.outcome(ctx, l.JobID, l.Attempt, r)
		return true, err
	}
}

// parseStatus reads what the server says of an analysis. Its result may go by
// either name; false where the answer tells nothing to act on.
func parseStatus(answer []byte) (report, bool) {
	var b struct {
		Status  string          `json:"status"`
		Result  json.RawMessage `json:"result"`
		Results json.RawMessage `json:"analysis_results"`
		Error   json.RawMessage `json:"error"`
		failureFields
	}
	if !utf8.Valid(answer) || json.Unmarshal(answer, &b) != nil {
		return report{}, false
	}
	if !given(b.Results) {
		b.Results = b.Result
	}
	switch b.Status {
	case statusCompleted:
		return report{status: statusCompleted, result: b.Results}, given(b.Results)
	case statusFailed:
		return failed(b.Error, b.failureFields), true
	case statusProcessing, "accepted", "queued", "pending", "running":
		return report{status: statusProcessing}, true
	default:
		return report{}, false
	}
}
