package store

import (
	"cmp"
	"context"
	"fmt"

	"github.com/lib/pq"

	"sori.internal/services/tracker/internal/query"
	"sori.internal/shared/principal"
)

// List implements api.Lister.
//
// For each status, the query reads at most one page of jobs, from one range of an index and in the
// order of the index. Only these jobs are sorted. Each query is planned with its parameter values,
// so that an absent condition costs nothing, and a present condition uses its index.
func (s *Store) List(ctx context.Context, f query.Filter, limit int) ([]query.Listed, error) {
	columns := listColumns()
	statement := fmt.Sprintf(`
		SELECT %[1]s
		FROM unnest($1::text[]) AS chosen (one)
		CROSS JOIN LATERAL (
		    SELECT %[1]s
		    FROM tracker.analysis_results
		    WHERE status = chosen.one
		      AND ($2::bigint IS NULL OR token_id = $2)
		      AND ($7::text IS NULL OR owner = $7)
		      AND created_at >= COALESCE($3::timestamptz, '-infinity')
		      AND (created_at, job_id) < (COALESCE($4::timestamptz, 'infinity'), $5::uuid)
		    ORDER BY created_at DESC, job_id DESC
		    LIMIT $6
		) AS piece
		ORDER BY created_at DESC, job_id DESC
		LIMIT $6`, names(columns))
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	release, err := s.lists.Acquire(ctx, principal.From(ctx).Owner)
	if err != nil {
		return nil, translate("list jobs", err)
	}
	defer release()
	start := f.Start()
	records, err := selectRecords(ctx, s.db, columns, statement, pq.Array(f.Statuses), nullUnless(f.TokenID != 0, f.TokenID),
		timestamp(f.From), timestamp(start.CreatedAt), cmp.Or(start.JobID, leastID), limit, nullUnless(f.Owner != "", f.Owner))
	if err != nil {
		return nil, translate("list jobs", err)
	}
	jobs := make([]query.Listed, len(records))
	for i, r := range records {
		jobs[i] = query.Listed{
			Snapshot: r.Snapshot, Attempt: r.Attempt,
			MediaType: r.MediaType, Size: r.Size, Duration: r.Duration,
		}
	}
	return jobs, nil
}
