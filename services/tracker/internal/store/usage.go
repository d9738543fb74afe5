package store

import (
	"context"
	"time"

	"github.com/lib/pq"

	"sori.internal/services/tracker/internal/query"
)

// Usage implements api.Usages. One statement reads the sums and the recorded jobs, so that they are
// consistent.
func (s *Store) Usage(ctx context.Context, owner string, logsFrom time.Time, jobs []string) (query.Usage, error) {
	const statement = `
		SELECT COALESCE(SUM(jobs), 0), COALESCE(SUM(staged_bytes), 0), COALESCE(SUM(stored_bytes), 0),
		    COALESCE(SUM(log_bytes) FILTER (WHERE day >= ($2::timestamptz AT TIME ZONE 'UTC')::date), 0),
		    ARRAY (
		        SELECT job_id::text
		        FROM tracker.analysis_results
		        WHERE job_id = ANY ($3::uuid[])
		          AND owner = $1
		          AND version > 0
		    )
		FROM tracker.usage
		WHERE owner = $1`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var u query.Usage
	err := s.db.QueryRowxContext(ctx, statement, owner, logsFrom, pq.Array(jobs)).
		Scan(&u.Jobs, &u.StagedBytes, &u.StoredBytes, &u.LogBytes, (*pq.StringArray)(&u.Recorded))
	return u, translate("sum the usage of an owner", err)
}
