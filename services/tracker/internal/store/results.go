package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/locale"
	"sori.internal/shared/postgres"
)

// shownRow is what a viewer sees of a row.
type shownRow struct {
	JobID          string         `db:"job_id"`
	TokenID        sql.NullInt64  `db:"token_id"`
	Status         string         `db:"status"`
	Stage          string         `db:"stage"`
	Message        string         `db:"message"`
	Progress       int            `db:"progress"`
	Version        int64          `db:"version"`
	ErrorCode      sql.NullString `db:"error_code"`
	ErrorDetail    sql.NullString `db:"error_detail"`
	ErrorRetryable sql.NullBool   `db:"error_retryable"`
	CreatedAt      sql.NullTime   `db:"created_at"`
	UpdatedAt      sql.NullTime   `db:"updated_at"`
	WaitUntil      sql.NullTime   `db:"wait_until"`
	RefusedCode    string         `db:"refused_code"`
}

func (r shownRow) snapshot() job.Snapshot {
	s := job.Snapshot{
		JobID: r.JobID, TokenID: r.TokenID.Int64, Status: job.Status(r.Status), Stage: locale.Message(r.Stage),
		Message: r.Message, Progress: r.Progress, Version: r.Version,
		Error:     job.Failure{Code: r.ErrorCode.String, Detail: r.ErrorDetail.String, Retryable: r.ErrorRetryable.Bool},
		CreatedAt: instant(r.CreatedAt), UpdatedAt: instant(r.UpdatedAt),
	}
	if s.Stage == locale.Waiting {
		s.NextAttemptAt = instant(r.WaitUntil)
	}
	if s.Stage == locale.Refused {
		s.Reason = r.RefusedCode
	}
	return s
}

// instant gives a time as the core compares it.
func instant(t sql.NullTime) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}

// row is a whole row but for its result, which is written once and not read to
// be merged.
type row struct {
	shownRow
	StateSeq      int64   `db:"state_seq"`
	Attempt       int     `db:"attempt"`
	Climbed       int     `db:"progress_attempt"`
	MessageSeq    int64   `db:"message_seq"`
	FileName      string  `db:"file_name"`
	MediaType     string  `db:"media_type"`
	Bucket        string  `db:"s3_bucket"`
	Key           string  `db:"s3_key"`
	Size          int64   `db:"size"`
	SHA256        string  `db:"sha256"`
	Duration      float64 `db:"duration"`
	AnalysisJobID string  `db:"analysis_job_id"`

	StageSeq  int64        `db:"stage_seq"`
	StageAt   sql.NullTime `db:"stage_at"`
	Analysing bool         `db:"analysing"`

	WaitSeq     int64 `db:"wait_seq"`
	WaitAttempt int   `db:"wait_attempt"`

	RefusedSeq     int64 `db:"refused_seq"`
	RefusedAttempt int   `db:"refused_attempt"`
}

func (r row) record() job.Record {
	return job.Record{
		Snapshot: r.snapshot(),
		StateSeq: uint64(r.StateSeq), Attempt: r.Attempt, Climbed: r.Climbed, MessageSeq: uint64(r.MessageSeq),
		FileName: r.FileName, MediaType: r.MediaType, Bucket: r.Bucket, Key: r.Key,
		Size: r.Size, SHA256: r.SHA256, Duration: r.Duration, AnalysisJobID: r.AnalysisJobID,
		StageSeq: uint64(r.StageSeq), StageAt: instant(r.StageAt), Analysing: r.Analysing,
		WaitSeq: uint64(r.WaitSeq), WaitAttempt: r.WaitAttempt, WaitUntil: instant(r.WaitUntil),
		RefusedSeq: uint64(r.RefusedSeq), RefusedAttempt: r.RefusedAttempt, RefusedCode: r.RefusedCode,
	}
}

// Find implements job.Rows.
func (s *Store) Find(ctx context.Context, id string) (job.Snapshot, bool, error) {
	const query = `
		SELECT job_id, token_id, status, stage, message, progress, version,
		       error_code, error_detail, error_retryable, created_at, updated_at, wait_until, refused_code, result
		FROM tracker.analysis_results
		WHERE job_id = $1
		  AND version > 0`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var found struct {
		shownRow
		Result sql.NullString `db:"result"`
	}
	err := s.db.GetContext(ctx, &found, query, id)
	if errors.Is(err, sql.ErrNoRows) {
		return job.Snapshot{}, false, nil
	}
	if err != nil {
		return job.Snapshot{}, false, translate("find job "+id, err)
	}
	snapshot := found.snapshot()
	snapshot.Result = job.Result(found.Result.String)
	return snapshot, true, nil
}

// Recording implements job.Rows.
func (s *Store) Recording(ctx context.Context, id string) (job.Recording, error) {
	const query = `
		SELECT s3_bucket, s3_key, file_name, media_type, duration
		FROM tracker.analysis_results
		WHERE job_id = $1
		  AND version > 0`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var r job.Recording
	err := s.db.QueryRowxContext(ctx, query, id).Scan(&r.Bucket, &r.Key, &r.FileName, &r.MediaType, &r.Duration)
	if errors.Is(err, sql.ErrNoRows) {
		return job.Recording{}, nil
	}
	return r, translate("find the recording of job "+id, err)
}

// Merge implements job.Rows.
func (s *Store) Merge(ctx context.Context, news map[string][]job.Entry) ([]job.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var grown []job.Snapshot
	err := postgres.Tx(ctx, s.db, func(tx *sqlx.Tx) error {
		ids := slices.Sorted(maps.Keys(news))
		if err := begin(ctx, tx, ids); err != nil {
			return err
		}
		records, err := lock(ctx, tx, ids)
		if err != nil {
			return err
		}
		var changed []job.Record
		for _, r := range records {
			version := r.Version
			if !r.Merge(news[r.JobID]) {
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

// begin makes the rows that are not there, so that each can be locked.
func begin(ctx context.Context, tx *sqlx.Tx, ids []string) error {
	const query = `
		INSERT INTO tracker.analysis_results (job_id)
		SELECT batch.job_id
		FROM unnest($1::uuid[]) AS batch (job_id)
		ORDER BY batch.job_id
		ON CONFLICT (job_id) DO NOTHING`
	_, err := tx.ExecContext(ctx, query, pq.Array(ids))
	return translate("begin rows", err)
}

func lock(ctx context.Context, tx *sqlx.Tx, ids []string) ([]job.Record, error) {
	const query = `
		SELECT job_id, token_id, status, stage, message, progress, version,
		       error_code, error_detail, error_retryable, created_at, updated_at,
		       state_seq, attempt, progress_attempt, message_seq,
		       file_name, media_type, s3_bucket, s3_key, size, sha256, duration, analysis_job_id,
		       stage_seq, stage_at, analysing, wait_seq, wait_attempt, wait_until,
		       refused_seq, refused_attempt, refused_code
		FROM tracker.analysis_results
		WHERE job_id = ANY ($1::uuid[])
		ORDER BY job_id
		FOR UPDATE`
	rows := make([]row, 0, len(ids))
	if err := tx.SelectContext(ctx, &rows, query, pq.Array(ids)); err != nil {
		return nil, translate("lock rows", err)
	}
	records := make([]job.Record, len(rows))
	for i, r := range rows {
		records[i] = r.record()
	}
	return records, nil
}

func update(ctx context.Context, tx *sqlx.Tx, records []job.Record) error {
	const query = `
		UPDATE tracker.analysis_results AS r
		SET token_id = c.token_id, status = c.status, stage = c.stage, message = c.message,
		    progress = c.progress, version = c.version, error_code = c.error_code,
		    error_detail = c.error_detail, error_retryable = c.error_retryable,
		    created_at = c.created_at, updated_at = c.updated_at,
		    result = CASE WHEN c.status = 'erased' THEN NULL ELSE COALESCE(c.result, r.result) END,
		    state_seq = c.state_seq, attempt = c.attempt, progress_attempt = c.progress_attempt,
		    message_seq = c.message_seq, file_name = c.file_name, media_type = c.media_type,
		    s3_bucket = c.s3_bucket, s3_key = c.s3_key, size = c.size, sha256 = c.sha256,
		    duration = c.duration, analysis_job_id = c.analysis_job_id,
		    stage_seq = c.stage_seq, stage_at = c.stage_at, analysing = c.analysing,
		    wait_seq = c.wait_seq, wait_attempt = c.wait_attempt, wait_until = c.wait_until,
		    refused_seq = c.refused_seq, refused_attempt = c.refused_attempt, refused_code = c.refused_code
		FROM unnest(
		    $1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[],
		    $6::integer[], $7::bigint[], $8::text[], $9::text[], $10::boolean[],
		    $11::timestamptz[], $12::timestamptz[], $13::json[], $14::bigint[], $15::integer[],
		    $16::integer[], $17::bigint[], $18::text[], $19::text[], $20::text[],
		    $21::text[], $22::bigint[], $23::text[], $24::double precision[], $25::text[],
		    $26::bigint[], $27::timestamptz[], $28::boolean[], $29::bigint[], $30::integer[],
		    $31::timestamptz[], $32::bigint[], $33::integer[], $34::text[]
		) AS c (
		    job_id, token_id, status, stage, message,
		    progress, version, error_code, error_detail, error_retryable,
		    created_at, updated_at, result, state_seq, attempt,
		    progress_attempt, message_seq, file_name, media_type, s3_bucket,
		    s3_key, size, sha256, duration, analysis_job_id,
		    stage_seq, stage_at, analysing, wait_seq, wait_attempt,
		    wait_until, refused_seq, refused_attempt, refused_code
		)
		WHERE r.job_id = c.job_id`
	if len(records) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, query, columns(records)...)
	return translate("update rows", err)
}
