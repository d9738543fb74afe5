package store

import (
	"cmp"
	"context"
	"time"

	"sori.internal/services/tracker/internal/command"
)

// Overdue implements command.OverdueRows.
func (s *Store) Overdue(ctx context.Context, d command.Deadlines, now time.Time, after command.Overdue, limit int) ([]command.Overdue, error) {
	const query = `
		SELECT job_id, state_seq, stage_at
		FROM tracker.analysis_results
		WHERE status = 'processing'
		  AND stage_at <= CASE WHEN analysing
		      THEN $1::timestamptz - make_interval(secs => CASE WHEN duration > 0
		          THEN LEAST(GREATEST(duration * $2::double precision, $3::double precision), $4::double precision)
		          ELSE $4::double precision END)
		      ELSE $1::timestamptz - make_interval(secs => $5::double precision)
		      END
		  AND (stage_at, job_id) > ($6::timestamptz, $7::uuid)
		ORDER BY stage_at, job_id
		LIMIT $8`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var rows []struct {
		JobID    string    `db:"job_id"`
		StateSeq int64     `db:"state_seq"`
		StageAt  time.Time `db:"stage_at"`
	}
	err := s.db.SelectContext(ctx, &rows, query, now, d.Factor, d.Min.Seconds(), d.Max.Seconds(), d.Dispatch.Seconds(),
		after.StageAt, cmp.Or(after.JobID, leastID), limit)
	if err != nil {
		return nil, translate("find overdue jobs", err)
	}
	found := make([]command.Overdue, len(rows))
	for i, r := range rows {
		found[i] = command.Overdue{JobID: r.JobID, StateSeq: uint64(r.StateSeq), StageAt: r.StageAt}
	}
	return found, nil
}
