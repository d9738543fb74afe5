package command

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// Action is an action on a job that a client may request.
type Action string

// The actions.
const (
	Cancel Action = "cancel"
	Retry  Action = "retry"
)

// Control cancels and retries jobs. After it has appended the event, it also tries to record the
// event, for at most two seconds, so that the client's next request sees the change.
type Control struct {
	decider  *Decider
	rows     Finder
	usage    LogUsage
	interval time.Duration // shortest time between two retries of a job, after freeAttempts attempts
}

// freeAttempts is the number of attempts of a job before retries are limited to one per interval.
const freeAttempts = 10

// retryRoom is the fraction of the stream of logs that may be used before retries are refused,
// since a retry causes a series of events. The rest of the stream is reserved for the ends of
// accepted jobs, for cancellations and for erasures.
const retryRoom = 0.95

// NewControl makes a Control. After ten attempts, a job may be retried only if the interval has
// passed since its last retry, because each retry costs an analysis.
func NewControl(decider *Decider, rows Finder, usage LogUsage, interval time.Duration) *Control {
	return &Control{decider: decider, rows: rows, usage: usage, interval: interval}
}

// Request is a request to perform an action on a job.
type Request struct {
	Job    string
	Action Action
	Force  bool   // retry the job even if its failure is permanent
	By     string // name of the requester, for the event
}

// Do performs an action on a job and returns the job's status after the action. The caller must
// have checked that the principal has access to the job.
//
// If the status does not allow the action, Do fails with fault.Conflict, and the error lists the
// allowed actions. However, canceling a canceled job succeeds. A retry fails with fault.RateLimited
// if it comes too soon after the last one, and with fault.Exhausted if the stream of logs is nearly
// full.
func (c *Control) Do(ctx context.Context, r Request) (job.Status, error) {
	id := r.Job
	if r.Action == Retry {
		if err := c.checkRoom(ctx); err != nil {
			return "", err
		}
	}
	log, appended, err := c.decider.append(ctx, id, r.rule(c.interval, time.Now()))
	if fault.Is(err, fault.NotFound) {
		return c.withoutLog(ctx, id, r.Action)
	}
	if err != nil {
		return "", err
	}
	if appended != nil {
		zerolog.Ctx(ctx).Info().Str(logging.Event, string(appended.Name())).Str(logging.JobID, id).Msg("job controlled")
		c.decider.recordNow(ctx, log)
	}
	return statusOf(log), nil
}

// withoutLog returns the answer for a job whose log has expired, according to the job's record.
// Such a job allows no action.
func (c *Control) withoutLog(ctx context.Context, id string, action Action) (job.Status, error) {
	s, err := recorded(ctx, c.rows, id)
	switch {
	case err != nil:
		return "", err
	case action == Cancel && s.Status == job.Canceled:
		return job.Canceled, nil
	case action == Retry && !s.AudioDeletedAt.IsZero():
		return "", audioDeleted(s.Status)
	default:
		return "", conflict(action, s.Status, []Action{})
	}
}

// rule returns the rule that appends the event `canceled` or `retried` if the log allows the
// action. The rule finds the time of the last retry in the log, so that the limit of retries holds
// for all replicas and after restarts.
func (r Request) rule(interval time.Duration, now time.Time) Rule {
	return func(log event.Log) (event.Event, error) {
		switch {
		case forgotten(log):
			return nil, fault.JobNotFound() // after this error Do reads the record
		case log.Erased():
			return nil, job.Gone()
		case r.Action == Cancel && statusOf(log) == job.Canceled:
			return nil, nil
		case r.Action == Retry && statusOf(log) == job.Failed && log.AudioExpired():
			return nil, audioDeleted(job.Failed)
		case r.Action == Retry && permanent(log) && !r.Force:
			return nil, notRetryable()
		case r.Action == Retry && permanent(log):
		case !slices.Contains(allowed(log), r.Action):
			return nil, conflict(r.Action, statusOf(log), allowed(log))
		}
		if wait := interval - now.Sub(lastRetry(log)); r.Action == Retry && log.Attempt() >= freeAttempts && wait > 0 {
			return nil, tooSoon(wait)
		}
		if r.Action == Cancel {
			return event.Canceled{JobID: r.Job, By: r.By}, nil
		}
		_, stored := event.Last[event.Stored](log)
		return event.Retried{JobID: r.Job, Attempt: log.Attempt() + 1, Fetch: !stored, By: r.By}, nil
	}
}

// checkRoom returns an error if the stream of logs has no room for retries.
func (c *Control) checkRoom(ctx context.Context) error {
	used, err := c.usage(ctx)
	if err == nil && used >= retryRoom {
		err = fault.AtCapacity("bus", fmt.Errorf("the log is full to %.2f: no job is retried", used))
	}
	return err
}

// lastRetry returns when a job was last retried; the zero time if it never was.
func lastRetry(log event.Log) time.Time {
	for _, r := range slices.Backward(log) {
		if r.Event.Name() == event.NameRetried {
			return r.Time
		}
	}
	return time.Time{}
}

// tooSoon returns the error for a retry that is allowed only after wait.
func tooSoon(wait time.Duration) error {
	return &fault.Error{
		Kind: fault.RateLimited, Code: "rate-limited", RetryAfter: wait, Extra: map[string]any{"limit": "retries"},
		Detail: "The job was retried a moment ago. Please try again later.",
	}
}

// statusOf returns the status of the job to which a log belongs.
func statusOf(log event.Log) job.Status {
	terminal, ended := log.Terminal()
	if !ended {
		return job.Processing
	}
	switch terminal.Name() {
	case event.NameCompleted:
		return job.Completed
	case event.NameCanceled:
		return job.Canceled
	case event.NameErased:
		return job.Erased
	default:
		return job.Failed
	}
}

// allowed returns the actions that a log allows without force. A retry is allowed only if the
// recording is in the bucket or can be fetched again. The staged bytes do not suffice, since they
// are removed when an upload fails.
func allowed(log event.Log) []Action {
	switch status := statusOf(log); {
	case status == job.Processing:
		return []Action{Cancel}
	case status == job.Failed && hasRecording(log) && !permanent(log):
		return []Action{Retry}
	default:
		return []Action{}
	}
}

// hasRecording reports whether the recording of a failed job is stored or can be fetched.
func hasRecording(log event.Log) bool {
	_, stored := event.Last[event.Stored](log)
	return stored || hasSource(log)
}

// hasSource reports whether the recording is one that the uploader fetches from a URL.
func hasSource(log event.Log) bool {
	received, _ := event.Last[event.Received](log)
	return received.Source != ""
}

// permanent reports whether a job has a recording and failed for a reason that another attempt
// cannot remove. If the event `failed` cannot be decoded, permanent returns false.
func permanent(log event.Log) bool {
	terminal, _ := log.Terminal()
	failed, ok := terminal.(event.Failed)
	return ok && hasRecording(log) && !failed.Retryable
}

// notRetryable returns the error for a retry of a permanent failure, if the request does not set force.
func notRetryable() error {
	return withActions(fault.New(fault.Conflict, "not-retryable",
		"The job failed for a reason that another try does not change. With ?force=true it is tried all the same."), job.Failed, []Action{})
}

// audioDeleted returns the error for a retry of a job whose recording was deleted.
func audioDeleted(status job.Status) error {
	return withActions(fault.New(fault.Conflict, "job-not-retryable",
		"The job's recording was deleted when its retention was over. Please upload it again."), status, []Action{})
}

// conflict returns the error for an action that the job's status does not allow.
func conflict(action Action, status job.Status, allowed []Action) error {
	switch {
	case action == Cancel:
		return withActions(fault.New(fault.Conflict, "job-not-cancelable",
			fmt.Sprintf("The job is %s and cannot be canceled.", status)), status, allowed)
	case status == job.Failed:
		return withActions(fault.New(fault.Conflict, "job-not-retryable",
			"The job's audio is not stored. Please upload it again."), status, allowed)
	default:
		return withActions(fault.New(fault.Conflict, "job-not-retryable",
			fmt.Sprintf("The job is %s and cannot be retried.", status)), status, allowed)
	}
}

// withActions adds the status of the job and the allowed actions to an error.
func withActions(f *fault.Error, status job.Status, allowed []Action) error {
	f.Extra = map[string]any{"current_status": status, "allowed": allowed}
	return f
}
