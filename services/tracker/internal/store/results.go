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
	"sori.internal/shared/event"
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

// smallResult is the size in bytes up to which ResultSize returns 0, since a small result needs no
// limit.
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

// Merge implements projection.Rows. It merges a batch with the events of only one job in one
// statement, if possible. For any other batch it locks the rows in a transaction. It inserts
// missing rows before that, but only if a job begins or if a row was found missing, since events
// may arrive out of order.
func (s *Store) Merge(ctx context.Context, entries map[string][]job.Entry) (job.Changes, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	changes, done, err := s.mergeOne(ctx, entries)
	if !done && err == nil {
		changes, err = s.mergeLocked(ctx, entries, beginJob(entries))
	}
	if errors.Is(err, errRowsMissing) {
		changes, err = s.mergeLocked(ctx, entries, true)
	}
	if err != nil {
		return job.Changes{}, translate("merge events", err)
	}
	return changes, nil
}

// errRowsMissing means that a row does not exist. The row cannot be inserted in the same
// transaction, because rows with greater ids are already locked.
var errRowsMissing = errors.New("rows are missing")

// beginJob reports whether any of the entries is a received event.
func beginJob(entries map[string][]job.Entry) bool {
	for _, ofJob := range entries {
		for _, e := range ofJob {
			if _, ok := e.Event.(event.Received); ok {
				return true
			}
		}
	}
	return false
}

// mergeOne merges the entries of a single job in one statement. This is possible if the entries
// begin the job, or if this process was the last to write the job's row. Otherwise, or if there are
// several jobs, done is false, and mergeLocked must merge the entries.
func (s *Store) mergeOne(ctx context.Context, entries map[string][]job.Entry) (changes job.Changes, done bool, err error) {
	if len(entries) != 1 {
		return changes, false, nil
	}
	id := slices.Collect(maps.Keys(entries))[0]
	last, ok := s.recent.take(id)
	if !ok && !beginJob(entries) {
		return changes, false, nil
	}
	write := func(changed []job.Record) (string, error) { return update(ctx, s.db, changed, last.written) }
	if !ok {
		last.Record, write = job.New(id), func(changed []job.Record) (string, error) { return insert(ctx, s.db, &changed[0]) }
	}
	changed, changes := merge([]job.Record{last.Record}, entries)
	if len(changed) == 0 {
		if ok {
			s.recent.add([]job.Record{last.Record}, last.written)
		}
		return changes, true, nil
	}
	written, err := write(changed)
	if err != nil || written == "" { // another process has written the row since
		return job.Changes{}, false, err
	}
	s.recent.add(changed, written)
	return changes, true, nil
}

// mergeLocked locks the rows of the jobs and merges the entries in one transaction. If insert is
// true, it inserts missing rows. Otherwise it fails with errRowsMissing if a row is missing.
func (s *Store) mergeLocked(ctx context.Context, entries map[string][]job.Entry, insert bool) (changes job.Changes, err error) {
	var (
		changed []job.Record
		written string
	)
	for id := range entries { // the transaction makes these records outdated
		s.recent.take(id)
	}
	err = postgres.Tx(ctx, s.db, func(tx *sqlx.Tx) error {
		ids := slices.Sorted(maps.Keys(entries))
		if insert {
			if err := insertMissing(ctx, tx, ids); err != nil {
				return err
			}
		}
		records, err := lock(ctx, tx, ids)
		if err != nil {
			return err
		}
		if len(records) < len(ids) {
			return errRowsMissing
		}
		changed, changes = merge(records, entries)
		written, err = update(ctx, tx, changed, "")
		return err
	})
	if err == nil && len(entries) == 1 {
		s.recent.add(changed, written)
	}
	return changes, err
}

// merge merges entries into records. It returns the records that have changed, and what has changed
// for others than the store.
func merge(records []job.Record, entries map[string][]job.Entry) (changed []job.Record, changes job.Changes) {
	for _, r := range records {
		before := r
		if !r.Merge(entries[r.JobID]) {
			continue
		}
		changed = append(changed, r)
		if r.Version != before.Version {
			changes.Grown = append(changes.Grown, r.Snapshot)
		}
		if r.EndedSince(&before) {
			changes.Ended = append(changes.Ended, r.Snapshot)
		}
	}
	return changed, changes
}

// insertMissing inserts a row for each job that has none, so that all rows can be locked.
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

// lock locks the rows of jobs, and reads them without the results, which merging does not need.
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

// update writes records in one statement. It returns the id of the statement's transaction, which
// Postgres stores in the column xmin of each row, or "" if it has written no row. If the parameter
// last is not empty, update writes only the rows whose xmin is equal to it. A record without a
// result does not overwrite the result of its row, unless the job is erased.
func update(ctx context.Context, db sqlx.QueryerContext, records []job.Record, last string) (written string, err error) {
	if len(records) == 0 {
		return "", nil
	}
	columns := append(recordColumns(), resultColumn())
	statement := fmt.Sprintf(`
		UPDATE tracker.analysis_results AS r
		SET %s,
		    result = CASE WHEN c.status = 'erased' THEN NULL ELSE COALESCE(c.result, r.result) END
		FROM unnest(%s) AS c (%s)
		WHERE r.job_id = c.job_id
		  AND ($%d = '' OR r.xmin::text = $%[4]d)
		RETURNING r.xmin::text`, assignments(recordColumns()[1:]), arrayParameters(columns), names(columns), len(columns)+1)
	written, err = transactionOf(ctx, db, statement, append(arrays(columns, records), last)...)
	return written, translate("update rows", err)
}

// insert inserts the row of a job, and returns the id of the transaction as update does. It returns
// "" if the job has a row already. For one row, VALUES is parsed and planned in half the time of
// unnest.
func insert(ctx context.Context, db sqlx.QueryerContext, r *job.Record) (written string, err error) {
	columns := append(recordColumns(), resultColumn())
	statement := fmt.Sprintf(`
		INSERT INTO tracker.analysis_results (%s)
		VALUES (%s)
		ON CONFLICT (job_id) DO NOTHING
		RETURNING xmin::text`, names(columns), valueParameters(columns))
	written, err = transactionOf(ctx, db, statement, values(columns, r)...)
	return written, translate("insert a row", err)
}

// transactionOf executes a statement that returns xmin for each row that it writes. It returns
// xmin, or "" if no row was written.
func transactionOf(ctx context.Context, db sqlx.QueryerContext, statement string, args ...any) (id string, err error) {
	rows, err := db.QueryxContext(ctx, statement, args...)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }() // Scan or rows.Err returns an error of reading
	for rows.Next() {
		if err := rows.Scan(&id); err != nil {
			return "", err
		}
	}
	return id, rows.Err()
}
