package store

import (
	"cmp"
	"context"
	"time"

	"sori.internal/services/tracker/internal/command"
)

// Ended implements command.EndedRows.
func (s *Store) Ended(ctx context.Context, before time.Time, after command.Ended, limit int) ([]command.Ended, error) {
	const query = `
		SELECT job_id, owner, ended_at
		FROM tracker.analysis_results
		WHERE ended_at <= $1
		  AND (ended_at, job_id) > ($2::timestamptz, $3::uuid)
		ORDER BY ended_at, job_id
		LIMIT $4`
	return s.ended(ctx, query, before, after, limit)
}

// EndedWithAudio implements command.EndedRows.
func (s *Store) EndedWithAudio(ctx context.Context, before time.Time, after command.Ended, limit int) ([]command.Ended, error) {
	const query = `
		SELECT job_id, owner, ended_at
		FROM tracker.analysis_results
		WHERE ended_at <= $1
		  AND audio_deleted_at IS NULL
		  AND s3_key <> ''
		  AND (ended_at, job_id) > ($2::timestamptz, $3::uuid)
		ORDER BY ended_at, job_id
		LIMIT $4`
	return s.ended(ctx, query, before, after, limit)
}

// ended executes a query for ended jobs. The arguments of the query are $1: before, $2 and $3:
// after, $4: limit.
func (s *Store) ended(ctx context.Context, query string, before time.Time, after command.Ended, limit int) ([]command.Ended, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var rows []struct {
		JobID   string    `db:"job_id"`
		Owner   string    `db:"owner"`
		EndedAt time.Time `db:"ended_at"`
	}
	if err := s.db.SelectContext(ctx, &rows, query, before, after.At, cmp.Or(after.JobID, leastID), limit); err != nil {
		return nil, translate("find ended jobs", err)
	}
	found := make([]command.Ended, len(rows))
	for i, r := range rows {
		found[i] = command.Ended{JobID: r.JobID, Owner: r.Owner, At: r.EndedAt}
	}
	return found, nil
}
