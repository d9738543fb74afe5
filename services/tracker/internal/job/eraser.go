package job

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/logging"
)

// TokenRows remembers deleted tokens and finds their jobs.
type TokenRows interface {
	// Delete remembers that a token was deleted.
	Delete(ctx context.Context, token int64, at time.Time) error
	// JobsOf returns jobs of a token that are not erased, at most limit.
	JobsOf(ctx context.Context, token int64, limit int) ([]string, error)
}

// Eraser erases jobs: on their logs, which let one writer win, whatever they are
// in. What it says is recorded at once. The rest is the uploader's to remove: the
// recording, and what was said of the job.
type Eraser struct {
	projector *Projector
	tokens    TokenRows
}

// NewEraser makes an eraser.
func NewEraser(projector *Projector, tokens TokenRows) *Eraser {
	return &Eraser{projector: projector, tokens: tokens}
}

// Erase erases a job that somebody asks to erase, be it under way or long ended.
func (e *Eraser) Erase(ctx context.Context, id string) error {
	p := e.projector
	log, err := p.journal.Decide(ctx, id, nil, func(log event.Log) (event.Event, error) {
		if log.Erased() {
			return nil, Gone()
		}
		if len(log) > 0 {
			return erasure(id, log), nil
		}
		switch s, found, err := p.rows.Find(ctx, id); { // its log may be no longer kept
		case err != nil:
			return nil, err
		case !found:
			return nil, NotFound()
		case s.Status == Erased:
			return nil, Gone()
		default:
			return erasure(id, log), nil
		}
	})
	if err != nil {
		return err
	}
	zerolog.Ctx(ctx).Info().Str(logging.JobID, id).Msg("job erased")
	p.record(ctx, log[len(log)-1:])
	return nil
}

// tokenPage is how many jobs of a token are erased at once.
const tokenPage = 500

// DeleteToken erases the jobs of a token that was deleted, and remembers it for
// those that are yet to come. Where it is interrupted it goes on with what is left.
func (e *Eraser) DeleteToken(ctx context.Context, token int64, at time.Time) error {
	if err := e.tokens.Delete(ctx, token, at); err != nil {
		return err
	}
	erased := 0
	for {
		jobs, err := e.tokens.JobsOf(ctx, token, tokenPage)
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			zerolog.Ctx(ctx).Info().Int64(logging.TokenID, token).Int(logging.Count, erased).Msg("token's jobs erased")
			return nil
		}
		if err := e.projector.erase(ctx, jobs); err != nil {
			return err
		}
		erased += len(jobs)
	}
}

// erasure is the event that erases a job. It names what the log knows of staging.
func erasure(id string, log event.Log) event.Event {
	erased := event.Erased{JobID: id}
	if r, ok := event.Last[event.Received](log); ok {
		erased.Staged = append(erased.Staged, r.Staged().Entry)
	}
	if c, ok := event.Last[event.Completed](log); ok && c.ResultEntry != "" {
		erased.Staged = append(erased.Staged, c.ResultEntry)
	}
	return erased
}

// erase erases jobs that are known to exist, and records it.
func (p *Projector) erase(ctx context.Context, jobs []string) error {
	var entries []Entry
	for _, id := range jobs {
		log, err := p.journal.Decide(ctx, id, nil, func(log event.Log) (event.Event, error) {
			if log.Erased() {
				return nil, nil
			}
			return erasure(id, log), nil
		})
		if err != nil {
			return err
		}
		last := log[len(log)-1] // the erasure, be it readable or not
		entries = append(entries, Entry{Event: event.Erased{JobID: id}, Seq: last.Seq, Time: last.Time})
	}
	return p.project(ctx, entries)
}

// eraseOrphans erases the jobs that have just been recorded and whose token is
// deleted. It looks when they are committed, and DeleteToken remembers the token
// before it looks for jobs: whichever is first, one of the two sees the other.
func (p *Projector) eraseOrphans(ctx context.Context, entries []Entry) error {
	jobs := map[int64][]string{}
	for _, e := range entries {
		if r, ok := e.Event.(event.Received); ok {
			jobs[r.TokenID] = append(jobs[r.TokenID], r.JobID)
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	deleted, err := p.rows.Deleted(ctx, slices.Collect(maps.Keys(jobs)))
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
	return p.erase(ctx, orphans)
}
