package command

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// TokenRows stores the deletions of tokens and finds the jobs of tokens.
type TokenRows interface {
	Finder
	// Delete stores that a token was deleted.
	Delete(ctx context.Context, token int64, at time.Time) error
	// Deleted returns those of the given tokens that were deleted.
	Deleted(ctx context.Context, tokens []int64) ([]int64, error)
	// JobsOf returns at most limit jobs of a token that are not erased.
	JobsOf(ctx context.Context, token int64, limit int) ([]string, error)
}

// Eraser erases jobs in any state: it appends the event `erased` to the log of a job and updates
// the job's record. The uploader consumes this event, and removes the recording, the staged bytes
// and all earlier events of the log.
type Eraser struct {
	decider *Decider
	rows    TokenRows
}

// NewEraser makes an eraser.
func NewEraser(decider *Decider, rows TokenRows) *Eraser {
	return &Eraser{decider: decider, rows: rows}
}

// Erase erases a job on request. The parameter by is the name of the requester. Erase fails with
// fault.Gone if the job is erased already. Before it returns, it tries to update the record, for at
// most two seconds. The caller must have checked that the principal has access to the job.
func (e *Eraser) Erase(ctx context.Context, id, by string) error {
	log, _, err := e.decider.append(ctx, id, func(log event.Log) (event.Event, error) {
		if log.Erased() {
			return nil, job.Gone()
		}
		erased := erased(id, log)
		erased.By = by
		if forgotten(log) {
			s, err := recorded(ctx, e.rows, id)
			if err != nil {
				return nil, err
			}
			erased.Owner = s.Owner
		}
		return erased, nil
	})
	if err != nil {
		return err
	}
	zerolog.Ctx(ctx).Info().Str(logging.JobID, id).Msg("job erased")
	e.decider.recordNow(ctx, log[len(log)-1:])
	return nil
}

// forgotten reports whether the log of a job has expired. An expired log may have been given one
// more event, which is expired.
func forgotten(log event.Log) bool {
	end, ended := log.End()
	return len(log) == 0 || ended && end.Event.Name() == event.NameExpired
}

// recorded returns the record of a job whose log has expired. It fails if the job has no record or
// is erased.
func recorded(ctx context.Context, rows Finder, id string) (job.Snapshot, error) {
	s, found, err := rows.Find(ctx, id)
	switch {
	case err != nil:
		return s, err
	case !found:
		return s, fault.JobNotFound()
	case s.Status == job.Erased:
		return s, job.Gone()
	default:
		return s, nil
	}
}

// tokenPage is the number of jobs of a token that are read and erased at a time.
const tokenPage = 500

// DeleteToken stores that a token was deleted, and erases the recorded jobs of the token.
// EraseOrphans erases the jobs that are recorded later. If DeleteToken was interrupted, a further
// call continues with the jobs that are not erased yet.
func (e *Eraser) DeleteToken(ctx context.Context, token int64, at time.Time) error {
	if err := e.rows.Delete(ctx, token, at); err != nil {
		return err
	}
	count := 0
	for {
		jobs, err := e.rows.JobsOf(ctx, token, tokenPage)
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			zerolog.Ctx(ctx).Info().Int64(logging.TokenID, token).Int(logging.Count, count).Msg("token's jobs erased")
			return nil
		}
		if err := e.eraseAll(ctx, jobs); err != nil {
			return err
		}
		count += len(jobs)
	}
}

// EraseOrphans erases those jobs of the entries whose token was deleted. It must be called after
// the entries are committed. DeleteToken stores the deletion before it reads the jobs of the token,
// so at least one of EraseOrphans and DeleteToken finds each job.
func (e *Eraser) EraseOrphans(ctx context.Context, entries []job.Entry) error {
	jobs := map[int64][]string{}
	for _, entry := range entries {
		if r, ok := entry.Event.(event.Received); ok {
			jobs[r.TokenID] = append(jobs[r.TokenID], r.JobID)
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	deleted, err := e.rows.Deleted(ctx, slices.Collect(maps.Keys(jobs)))
	if err != nil {
		return err
	}
	var orphans []string
	for _, token := range deleted {
		orphans = append(orphans, jobs[token]...)
	}
	if len(orphans) == 0 {
		return nil
	}
	return e.eraseAll(ctx, orphans)
}

// eraseAll erases jobs that certainly exist, and records the erased events.
func (e *Eraser) eraseAll(ctx context.Context, jobs []string) error {
	var entries []job.Entry
	for _, id := range jobs {
		log, _, err := e.decider.append(ctx, id, func(log event.Log) (event.Event, error) {
			if log.Erased() {
				return nil, nil
			}
			return erased(id, log), nil
		})
		if err != nil {
			return err
		}
		entries = append(entries, erasedEntry(id, log))
	}
	return e.decider.record(ctx, entries)
}

// EraseEnded erases a job whose retention has passed. It does nothing if the job, according to its
// log, has not ended or ended later than the parameter before. If the log has expired, even if its
// recording has been deleted since, EraseEnded relies on the record, since such a job cannot be
// retried. If the log has newer events than the record, EraseEnded updates the record.
func (e *Eraser) EraseEnded(ctx context.Context, ended Ended, before time.Time) error {
	log, appended, err := e.decider.append(ctx, ended.JobID, func(log event.Log) (event.Event, error) {
		if log.Erased() || !forgotten(log) && !endedBy(log, before) {
			return nil, nil
		}
		erased := erased(ended.JobID, log)
		erased.Owner, erased.Reason = cmp.Or(erased.Owner, ended.Owner), event.ReasonRetention
		return erased, nil
	})
	if err != nil {
		return err
	}
	if appended != nil {
		zerolog.Ctx(ctx).Info().Str(logging.JobID, ended.JobID).Msg("retention of a job over")
	}
	if !log.Erased() {
		return e.decider.record(ctx, job.Entries(log))
	}
	return e.decider.record(ctx, []job.Entry{erasedEntry(ended.JobID, log)})
}

// endedBy reports whether a job had ended at a time.
func endedBy(log event.Log, at time.Time) bool {
	end, ended := log.End()
	return ended && !end.Time.After(at)
}

// erasedEntry returns the entry of the event `erased`, which is the last event in the log of an
// erased job. If the body of the event cannot be decoded, erasedEntry restores the event from the
// log.
func erasedEntry(id string, log event.Log) job.Entry {
	last := log[len(log)-1]
	recorded, ok := last.Event.(event.Erased)
	if !ok {
		recorded = erased(id, log)
	}
	return job.Entry{Event: recorded, Seq: last.Seq, Time: last.Time}
}

// erased returns the event that erases a job, with the owner, the staging entries and the analysis
// server's id that are in the job's log.
func erased(id string, log event.Log) event.Erased {
	e := event.Erased{JobID: id}
	if r, ok := event.Last[event.Received](log); ok {
		e.Owner = r.Owner
		e.Staged = append(e.Staged, r.Staged().Entry)
	}
	if c, ok := event.Last[event.Completed](log); ok && c.ResultEntry != "" {
		e.Staged = append(e.Staged, c.ResultEntry)
	}
	if d, ok := event.Last[event.Dispatched](log); ok {
		e.AnalysisJobID = d.AnalysisJobID
	}
	return e
}
