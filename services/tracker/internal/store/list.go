package store

import (
	"cmp"
	"context"

	"github.com/lib/pq"

	"sori.internal/services/tracker/internal/job"
)

// List implements api.Lister.
//
// Each status gives as many jobs as a page may hold, from a range of one index and
// in its order; what is sorted is no more than these. The driver has every query
// planned with its values, so that a condition that is not asked for costs
// nothing and one that is finds its index.
func (s *Store) List(ctx context.Context, f job.Filter, limit int) ([]job.Listed, error) {
	const query = `
		SELECT job_id, token_id, status, stage, message, progress, version,
		       error_code, error_detail, error_retryable, created_at, updated_at, wait_until, refused_code,
		       attempt, file_name, media_type, size, duration
		FROM unnest($1::text[]) AS chosen (one)
		CROSS JOIN LATERAL (
		    SELECT job_id, token_id, status, stage, message, progress, version,
		           error_code, error_detail, error_retryable, created_at, updated_at, wait_until, refused_code,
		           attempt, file_name, media_type, size, duration
		    FROM tracker.analysis_results
		    WHERE status = chosen.one
		      AND ($2::bigint IS NULL OR token_id = $2)
		      AND created_at >= COALESCE($3::timestamptz, '-infinity')
		      AND (created_at, job_id) < (COALESCE($4::timestamptz, 'infinity'), $5::uuid)
		    ORDER BY created_at DESC, job_id DESC
		    LIMIT $6
		) AS piece
		ORDER BY created_at DESC, job_id DESC
		LIMIT $6`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var rows []struct {
		shownRow
		Attempt   int     `db:"attempt"`
		FileName  string  `db:"file_name"`
		MediaType string  `db:"media_type"`
		Size      int64   `db:"size"`
		Duration  float64 `db:"duration"`
	}
	start := f.Start()
	err := s.db.SelectContext(ctx, &rows, query, pq.Array(f.Statuses), where(f.TokenID != 0, f.TokenID), timestamp(f.From),
		timestamp(start.CreatedAt), cmp.Or(start.JobID, leastID), limit)
	if err != nil {
		return nil, translate("list jobs", err)
	}
	jobs := make([]job.Listed, len(rows))
	for i, r := range rows {
		jobs[i] = job.Listed{
			Snapshot: r.snapshot(), Attempt: r.Attempt,
			FileName: r.FileName, MediaType: r.MediaType, Size: r.Size, Duration: r.Duration,
		}
	}
	return jobs, nil
}
