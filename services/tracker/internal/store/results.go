package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/query"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
)

// Find implements projection.Rows, command.Finder and query.Rows.
func (s *Store) Find(ctx context.Context, id string) (job.Snapshot, bool, error) {
	columns := append(snapshotColumns(), resultColumn())
	statement := fmt.Sprintf(`
		SELECT %s
		FROM tracker.analysis_results
		WHERE job_id = $1
		  AND version > 0`, names(columns))
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := selectRecords(ctx, s.db, columns, statement, id)
	if err != nil || len(found) == 0 {
		return job.Snapshot{}, false, translate("find job "+id, err)
	}
	return found[0].Snapshot, true, nil
}

// smallResult is the size in bytes up to which ResultSize returns 0.
const smallResult = 8 << 10

// ResultSize implements api.Sizes. It does not read the result.
func (s *Store) ResultSize(ctx context.Context, id string) (int64, error) {
	const statement = `
		SELECT CASE WHEN result_bytes > $2 THEN result_bytes ELSE 0 END
		FROM tracker.analysis_results
		WHERE job_id = $1
		  AND version > 0`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var size int64
	err := s.db.QueryRowxContext(ctx, statement, id, smallResult).Scan(&size)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return size, translate("find the size of the result of job "+id, err)
}

// StatusFor implements query.Rows.
func (s *Store) StatusFor(ctx context.Context, p principal.Principal, id string) (job.Status, bool, error) {
	const statement = `
		SELECT status
		FROM tracker.analysis_results
		WHERE job_id = $1
		  AND version > 0
		  AND ($2::boolean OR owner <> '' AND owner = $3)`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var status job.Status
	err := s.db.QueryRowxContext(ctx, statement, id, p.May(principal.Admin), p.Owner).Scan(&status)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return status, err == nil, translate("find job "+id, err)
}

// Recording implements query.Rows.
func (s *Store) Recording(ctx context.Context, id string) (query.Recording, error) {
	const statement = `
		SELECT s3_bucket, s3_key, file_name, media_type, duration, audio_deleted_at IS NOT NULL
		FROM tracker.analysis_results
		WHERE job_id = $1
		  AND version > 0`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var r query.Recording
	err := s.db.QueryRowxContext(ctx, statement, id).Scan(&r.Bucket, &r.Key, &r.FileName, &r.MediaType, &r.Duration, &r.Deleted)
	if errors.Is(err, sql.ErrNoRows) {
		return query.Recording{}, nil
	}
	return r, translate("find the recording of job "+id, err)
}

// Merge implements projection.Rows. It merges the records in the transaction that locks their rows.
func (s *Store) Merge(ctx context.Context, entries map[string][]job.Entry) ([]job.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var grown []job.Snapshot
	err := postgres.Tx(ctx, s.db, func(tx *sqlx.Tx) error {
		ids := slices.Sorted(maps.Keys(entries))
		if err := insertMissing(ctx, tx, ids); err != nil {
			return err
		}
		records, err := lock(ctx, tx, ids)
		if err != nil {
			return err
		}
		var changed []job.Record
		for _, r := range records {
			version := r.Version
			if !r.Merge(entries[r.JobID]) {
				continue
			}
			changed = append(changed, r)
			if r.Version != version {
				grown = append(grown, r.Snapshot)
			}
		}
		return update(ctx, tx, changed)
	})
	if err != nil {
		return nil, translate("merge events", err)
	}
	return grown, nil
}

// insertMissing inserts the rows that do not exist, so that every row can be locked.
func insertMissing(ctx context.Context, tx *sqlx.Tx, ids []string) error {
	const query = `
		INSERT INTO tracker.analysis_results (job_id)
		SELECT batch.job_id
		FROM unnest($1::uuid[]) AS batch (job_id)
		ORDER BY batch.job_id
		ON CONFLICT (job_id) DO NOTHING`
	_, err := tx.ExecContext(ctx, query, pq.Array(ids))
	return translate("insert rows", err)
}

// lock locks the rows of jobs and reads them without their results, which are written once and are
// not needed for merging.
func lock(ctx context.Context, tx *sqlx.Tx, ids []string) ([]job.Record, error) {
	columns := recordColumns()
	statement := fmt.Sprintf(`
		SELECT %s
		FROM tracker.analysis_results
		WHERE job_id = ANY ($1::uuid[])
		ORDER BY job_id
		FOR UPDATE`, names(columns))
	records, err := selectRecords(ctx, tx, columns, statement, pq.Array(ids))
	return records, translate("lock rows", err)
}

// update writes records in one statement. Each column is a parameter: an array with a value for
// each record. If a record has no result, the row keeps its result, unless the job is erased.
func update(ctx context.Context, tx *sqlx.Tx, records []job.Record) error {
	if len(records) == 0 {
		return nil
	}
	columns := append(recordColumns(), resultColumn())
	statement := fmt.Sprintf(`
		UPDATE tracker.analysis_results AS r
		SET %s,
		    result = CASE WHEN c.status = 'erased' THEN NULL ELSE COALESCE(c.result, r.result) END
		FROM unnest(%s) AS c (%s)
		WHERE r.job_id = c.job_id`, assignments(recordColumns()[1:]), arrayParameters(columns), names(columns))
	_, err := tx.ExecContext(ctx, statement, arrays(columns, records)...)
	return translate("update rows", err)
}
