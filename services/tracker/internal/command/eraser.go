package command

import (
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

// TokenRows stores which tokens are deleted and finds their jobs.
type TokenRows interface {
	Finder
	// Delete stores that a token was deleted.
	Delete(ctx context.Context, token int64, at time.Time) error
	// Deleted returns which of the tokens are deleted.
	Deleted(ctx context.Context, tokens []int64) ([]int64, error)
	// JobsOf returns jobs of a token that are not erased, at most limit.
	JobsOf(ctx context.Context, token int64, limit int) ([]string, error)
}

// Eraser erases jobs, in any state. It records what it appends before it returns. The uploader
// consumes erased and removes the recording, the staged bytes and the log.
type Eraser struct {
	decider *Decider
	rows    TokenRows
}

// NewEraser makes an eraser.
func NewEraser(decider *Decider, rows TokenRows) *Eraser {
	return &Eraser{decider: decider, rows: rows}
}

// Erase erases a job on request; by says who requested it. The caller has checked that whoever
// requests it may know of the job.
func (e *Eraser) Erase(ctx context.Context, id, by string) error {
	log, _, err := e.decider.append(ctx, id, func(log event.Log) (event.Event, error) {
		if log.Erased() {
			return nil, job.Gone()
		}
		erased := erased(id, log)
		erased.By = by
		if len(log) == 0 {
			owner, err := e.recordedOwner(ctx, id)
			if err != nil {
				return nil, err
			}
			erased.Owner = owner
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

// recordedOwner returns the owner of a job whose log has expired. The job must have a record and
// not be erased.
func (e *Eraser) recordedOwner(ctx context.Context, id string) (string, error) {
	switch s, found, err := e.rows.Find(ctx, id); {
	case err != nil:
		return "", err
	case !found:
		return "", fault.JobNotFound()
	case s.Status == job.Erased:
		return "", job.Gone()
	default:
		return s.Owner, nil
	}
}

// tokenPage is how many jobs of a token are erased at once.
const tokenPage = 500

// DeleteToken stores that a token was deleted, for jobs that are yet to appear, and erases the
// jobs that it has. After an interruption it continues with the jobs that are left.
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

// EraseOrphans erases the jobs that have just been recorded and whose token is deleted. It is
// called after the commit, and DeleteToken stores the token before it looks for jobs: whichever of
// the two is first, one of them finds the job.
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

// eraseAll erases jobs that are known to exist, and records it.
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
		last := log[len(log)-1] // erased, even if its body cannot be decoded
		recorded, ok := last.Event.(event.Erased)
		if !ok {
			recorded = erased(id, log)
		}
		entries = append(entries, job.Entry{Event: recorded, Seq: last.Seq, Time: last.Time})
	}
	return e.decider.record(ctx, entries)
}

// erased is the event that erases a job. It names the owner and the staging entries that the log
// names.
func erased(id string, log event.Log) event.Erased {
	e := event.Erased{JobID: id}
	if r, ok := event.Last[event.Received](log); ok {
		e.Owner = r.Owner
		e.Staged = append(e.Staged, r.Staged().Entry)
	}
	if c, ok := event.Last[event.Completed](log); ok && c.ResultEntry != "" {
		e.Staged = append(e.Staged, c.ResultEntry)
	}
	return e
}
