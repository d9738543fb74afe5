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

// Control cancels and retries jobs. Before it returns, it also tries to record the event that it
// has appended, for at most two seconds, so that the client's next request sees the change.
type Control struct {
	decider  *Decider
	rows     Finder
	usage    LogUsage
	interval time.Duration // shortest time between two retries of a job
}

// freeAttempts is how many attempts a job may have before the interval between its retries applies.
const freeAttempts = 10

// retryRoom is a limit of the used fraction of the stream of logs. From this limit on no job is
// retried, since a retry begins a series of events. The rest of the stream is reserved for the end of
// accepted jobs, for cancellations and for erasures.
const retryRoom = 0.95

// NewControl makes a control. After ten attempts, a job may be retried only if interval has passed
// since its last retry, since each retry costs an analysis.
func NewControl(decider *Decider, rows Finder, usage LogUsage, interval time.Duration) *Control {
	return &Control{decider: decider, rows: rows, usage: usage, interval: interval}
}

// Request is the request of an action.
type Request struct {
	Job    string
	Action Action
	Force  bool   // retry a job even if its failure is permanent
	By     string // the requester's name in the event
}

// Do performs an action on a job and returns the job's status after the action. Canceling a
// canceled job succeeds. If the status does not allow the action, Do fails with fault.Conflict, and
// the failure lists the allowed actions. A retry fails with fault.RateLimited if it comes too soon
// after the last one, and with fault.Exhausted if the stream of logs is nearly full. The caller
// must have checked that the principal may know of the job.
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

// withoutLog answers for a job whose log has expired. It reads the record: no action is allowed.
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

// rule returns the rule that appends canceled or retried if the log allows the action. The log also
// limits the retries of a job: all replicas read it, and it survives all of them.
func (r Request) rule(interval time.Duration, now time.Time) Rule {
	return func(log event.Log) (event.Event, error) {
		switch {
		case forgotten(log):
			return nil, fault.JobNotFound() // Do reads the record
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

// checkRoom fails if the stream of logs has no room for retries.
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

// tooSoon returns the failure of a retry that comes too soon after the last one.
func tooSoon(wait time.Duration) error {
	return &fault.Error{
		Kind: fault.RateLimited, Code: "rate-limited", RetryAfter: wait, Extra: map[string]any{"limit": "retries"},
		Detail: "The job was retried a moment ago. Please try again later.",
	}
}

// statusOf returns the status of a job by its log.
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

// allowed returns the actions that a log allows without force. A retry needs a recording: in the
// bucket, or at its source. The staged bytes are removed when an upload fails.
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

// hasSource reports whether the recording of a job is fetched from a source.
func hasSource(log event.Log) bool {
	received, _ := event.Last[event.Received](log)
	return received.Source != ""
}

// permanent reports whether a job that has a recording failed for a reason that another attempt does
// not change. A failed event that cannot be decoded does not count as permanent.
func permanent(log event.Log) bool {
	terminal, _ := log.Terminal()
	failed, ok := terminal.(event.Failed)
	return ok && hasRecording(log) && !failed.Retryable
}

// notRetryable returns the conflict of a retry that needs force.
func notRetryable() error {
	return withActions(fault.New(fault.Conflict, "not-retryable",
		"The job failed for a reason that another try does not change. With ?force=true it is tried all the same."), job.Failed, []Action{})
}

// audioDeleted returns the conflict of a retry after the recording was deleted.
func audioDeleted(status job.Status) error {
	return withActions(fault.New(fault.Conflict, "job-not-retryable",
		"The job's recording was deleted when its retention was over. Please upload it again."), status, []Action{})
}

// conflict returns the failure of an action that the job's status does not allow.
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

// withActions adds the current status of the job and the allowed actions to a failure.
func withActions(f *fault.Error, status job.Status, allowed []Action) error {
	f.Extra = map[string]any{"current_status": status, "allowed": allowed}
	return f
}
