package analysis

import (
	"context"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// cancelTries is how often a request to cancel an analysis is tried while the server cannot be
// reached. The job has ended already, so a request that is never sent only leaves the server with
// needless work.
const cancelTries = 5

// HandleCanceled promotes a follower of a canceled job, and requests that the server cancels the
// job's analysis. delivery counts the deliveries of the event, from 1.
func (d *Dispatcher) HandleCanceled(ctx context.Context, e event.Canceled, delivery uint64) error {
	if err := d.endWaitFor(ctx, e.JobID); err != nil {
		return err
	}
	log, err := d.Jobs.Read(ctx, e.JobID)
	if err != nil {
		return err
	}
	if newestOf(log).attempted == 0 { // no analysis was requested, or HandleErased cancels it
		return nil
	}
	dispatched, _ := event.Last[event.Dispatched](log)
	return d.cancel(ctx, e.JobID, dispatched.AnalysisJobID, delivery)
}

// HandleErased promotes a follower of an erased job, removes the cached result of the job, and
// requests that the server cancels the analysis and deletes its result.
func (d *Dispatcher) HandleErased(ctx context.Context, e event.Erased, delivery uint64) error {
	if err := d.endWaitFor(ctx, e.JobID); err != nil {
		return err
	}
	if d.Results != nil {
		if err := d.Results.Remove(ctx, e.JobID); err != nil {
			return err
		}
	}
	return d.cancel(ctx, e.JobID, e.AnalysisJobID, delivery)
}

// cancel sends one request to cancel an analysis. It returns an error if the server cannot be
// reached and tries are left, so that the event is redelivered.
func (d *Dispatcher) cancel(ctx context.Context, job, serverID string, delivery uint64) error {
	err := d.Analyzer.Cancel(ctx, job, serverID)
	if err == nil {
		return nil
	}
	if fault.Is(err, fault.Unavailable) && delivery < cancelTries {
		return err
	}
	zerolog.Ctx(ctx).Warn().Err(err).Str(logging.JobID, job).Msg("analysis not canceled")
	return nil
}

// cancelIfAbandoned requests the cancellation of an analysis that the server accepted after its job
// was canceled or erased. log is the job's log after the acceptance.
func (d *Dispatcher) cancelIfAbandoned(ctx context.Context, job, serverID string, log event.Log) error {
	if !abandoned(log) {
		return nil
	}
	return d.cancel(ctx, job, serverID, cancelTries)
}
