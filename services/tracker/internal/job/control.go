package job

import (
	"context"
	"fmt"
	"slices"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// Action is what somebody may ask of a job.
type Action string

// The actions.
const (
	Cancel Action = "cancel"
	Retry  Action = "retry"
)

// Control decides on what is asked of jobs: on their logs, which let one writer
// win, and never on their records, which may lag. What it says is recorded at
// once, so that whoever was answered sees it.
type Control struct {
	journal   Journal
	projector *Projector
}

// NewControl makes a control.
func NewControl(journal Journal, projector *Projector) *Control {
	return &Control{journal: journal, projector: projector}
}

// Do does what is asked of a job and returns its status then. Cancelling a
// canceled job is a success; where an action makes no sense the conflict tells
// which do. A job that failed for a reason that lasts is retried by force alone.
func (c *Control) Do(ctx context.Context, id string, action Action, force bool) (Status, error) {
	var said event.Event
	log, err := c.journal.Decide(ctx, id, nil, func(log event.Log) (event.Event, error) {
		said = nil
		if len(log) == 0 {
			return nil, NotFound()
		}
		if log.Erased() {
			return nil, Gone()
		}
		if action == Cancel && statusOf(log) == Canceled {
			return nil, nil
		}
		if action == Retry && lasting(log) && !force {
			return nil, notRetryable()
		}
		if !slices.Contains(allowed(log), action) && (action != Retry || !lasting(log)) {
			return nil, conflict(action, statusOf(log), allowed(log))
		}
		said = decision(id, action, log)
		return said, nil
	})
	if fault.Is(err, fault.NotFound) {
		return c.forgotten(ctx, id, action)
	}
	if err != nil {
		return "", err
	}
	if said != nil {
		zerolog.Ctx(ctx).Info().Str(logging.Event, string(said.Name())).Str(logging.JobID, id).Msg("job controlled")
		c.projector.record(ctx, log)
	}
	return statusOf(log), nil
}

// forgotten answers for a job whose log is no longer kept, where its record is:
// nothing can be done to it.
func (c *Control) forgotten(ctx context.Context, id string, action Action) (Status, error) {
	s, found, err := c.projector.rows.Find(ctx, id)
	switch {
	case err != nil:
		return "", err
	case !found:
		return "", NotFound()
	case s.Status == Erased:
		return "", Gone()
	case action == Cancel && s.Status == Canceled:
		return Canceled, nil
	default:
		return "", conflict(action, s.Status, []Action{})
	}
}

// decision is the event that an action makes.
func decision(id string, action Action, log event.Log) event.Event {
	if action == Cancel {
		return event.Canceled{JobID: id}
	}
	return event.Retried{JobID: id, Attempt: log.Attempt() + 1}
}

func entriesOf(log event.Log) []Entry {
	entries := make([]Entry, len(log))
	for i, r := range log {
		entries[i] = Entry{Event: r.Event, Seq: r.Seq, Time: r.Time}
	}
	return entries
}

// statusOf is the status of a job by its log.
func statusOf(log event.Log) Status {
	ending, ended := log.Ending()
	if !ended {
		return Processing
	}
	switch ending.Name() {
	case event.NameCompleted:
		return Completed
	case event.NameCanceled:
		return Canceled
	case event.NameErased:
		return Erased
	default:
		return Failed
	}
}

// allowed are the actions that make sense. A retry needs a recording in the
// bucket, since the upload's bytes are gone with its failure, and a failure that
// may not last.
func allowed(log event.Log) []Action {
	_, stored := event.Last[event.Stored](log)
	switch status := statusOf(log); {
	case status == Processing:
		return []Action{Cancel}
	case status == Failed && stored && !lasting(log):
		return []Action{Retry}
	default:
		return []Action{}
	}
}

// lasting reports whether a job whose recording is stored failed for a reason that
// another try does not change. A failure that cannot be read is not known to be one.
func lasting(log event.Log) bool {
	ending, _ := log.Ending()
	failed, ok := ending.(event.Failed)
	_, stored := event.Last[event.Stored](log)
	return ok && stored && !failed.Retryable
}

// notRetryable is the conflict of a retry that only force makes.
func notRetryable() error {
	return &fault.Error{
		Kind: fault.Conflict, Code: "not-retryable",
		Detail: "The job failed for a reason that another try does not change. With ?force=true it is tried all the same.",
		Extra:  map[string]any{"current_status": Failed, "allowed": []Action{}},
	}
}

func conflict(action Action, status Status, allowed []Action) error {
	f := &fault.Error{
		Kind: fault.Conflict, Code: "job-not-cancelable", Detail: fmt.Sprintf("The job is %s and cannot be canceled.", status),
		Extra: map[string]any{"current_status": status, "allowed": allowed},
	}
	switch {
	case action == Retry && status == Failed:
		f.Code, f.Detail = "job-not-retryable", "The job's audio is not stored. Please upload it again."
	case action == Retry:
		f.Code, f.Detail = "job-not-retryable", fmt.Sprintf("The job is %s and cannot be retried.", status)
	}
	return f
}
