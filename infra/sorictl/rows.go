package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"sori.internal/shared/config"
	"sori.internal/shared/postgres"
)

// rows reads the tracker's records. It never writes, because the tracker owns them.
type rows struct{ db *sqlx.DB }

// openRows returns a connection pool. It does not connect.
func openRows(settings config.Lookup) (rows, error) {
	var cfg postgres.Config
	if err := config.Load(settings, &cfg); err != nil {
		return rows{}, err
	}
	db, err := postgres.Open(cfg, "tracker")
	return rows{db}, err
}

// row contains the columns of a job's record that an operator is shown.
type row struct {
	JobID       string     `db:"job_id"`
	Owner       string     `db:"owner"`
	TokenID     *int64     `db:"token_id"`
	Status      string     `db:"status"`
	Progress    int        `db:"progress"`
	Attempt     int        `db:"attempt"`
	Version     int64      `db:"version"`
	StateSeq    uint64     `db:"state_seq"`
	ErrorCode   *string    `db:"error_code"`
	ErrorDetail *string    `db:"error_detail"`
	Retryable   *bool      `db:"error_retryable"`
	FileName    string     `db:"file_name"`
	MediaType   string     `db:"media_type"`
	Size        int64      `db:"size"`
	SHA256      string     `db:"sha256"`
	Duration    float64    `db:"duration"`
	Bucket      string     `db:"s3_bucket"`
	Key         string     `db:"s3_key"`
	ResultBytes *int64     `db:"result_bytes"`
	Cached      bool       `db:"cached"`
	CreatedAt   *time.Time `db:"created_at"`
	UpdatedAt   *time.Time `db:"updated_at"`
}

// find returns the record of a job, or nil if there is none.
func (r rows) find(ctx context.Context, job string) (*row, error) {
	const query = `
		SELECT job_id, owner, token_id, status, progress, attempt, version, state_seq,
		       error_code, error_detail, error_retryable, file_name, media_type, size, sha256, duration,
		       s3_bucket, s3_key, octet_length(result::text) AS result_bytes, cached, created_at, updated_at
		FROM tracker.analysis_results
		WHERE job_id = $1`
	var found row
	err := r.db.GetContext(ctx, &found, query, job)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, postgres.Translate("read the record of job "+job, err)
	}
	return &found, nil
}

// failure describes a failed job that may be retried.
type failure struct {
	JobID     string    `db:"job_id"`
	ErrorCode string    `db:"error_code"`
	Attempt   int       `db:"attempt"`
	UpdatedAt time.Time `db:"updated_at"`
}

// failed returns the failed jobs that match the choice, the newest first. Unless forced, it
// leaves out jobs whose error is not retryable. It always leaves out jobs without a stored
// recording, which cannot be retried.
func (r rows) failed(ctx context.Context, c choice) ([]failure, error) {
	const query = `
		SELECT job_id, error_code, attempt, updated_at
		FROM tracker.analysis_results
		WHERE status = 'failed'
		  AND s3_key <> ''
		  AND audio_deleted_at IS NULL
		  AND ($4 OR error_retryable)
		  AND ($1 = '' OR error_code = $1)
		  AND ($2 = 0 OR updated_at >= now() - make_interval(secs => $2::double precision))
		ORDER BY updated_at DESC, job_id DESC
		LIMIT $3`
	var found []failure
	err := r.db.SelectContext(ctx, &found, query, c.Code, c.Since.duration().Seconds(), c.N, c.Force)
	return found, postgres.Translate("find failed jobs", err)
}

// lasting counts the failed jobs whose error is not retryable. rows.failed leaves them out.
func (r rows) lasting(ctx context.Context, c choice) (n int, err error) {
	const query = `
		SELECT count(*)
		FROM tracker.analysis_results
		WHERE status = 'failed'
		  AND s3_key <> ''
		  AND audio_deleted_at IS NULL
		  AND NOT error_retryable
		  AND ($1 = '' OR error_code = $1)
		  AND ($2 = 0 OR updated_at >= now() - make_interval(secs => $2::double precision))`
	err = r.db.GetContext(ctx, &n, query, c.Code, c.Since.duration().Seconds())
	return n, postgres.Translate("count failed jobs", err)
}

// record contains the columns of a job's record that reconciliation compares.
type record struct {
	JobID    string `db:"job_id"`
	Owner    string `db:"owner"`
	Status   string `db:"status"`
	StateSeq uint64 `db:"state_seq"`
	Shown    bool   `db:"shown"` // whether the tracker has recorded the event received
	Key      string `db:"s3_key"`

	AudioDeleted bool `db:"audio_deleted"` // the recording was deleted because its retention had passed
}

// eachRecord calls the function see for every record.
func (r rows) eachRecord(ctx context.Context, see func(record)) error {
	const query = `
		SELECT job_id, owner, status, state_seq, created_at IS NOT NULL AS shown, s3_key,
		       audio_deleted_at IS NOT NULL AS audio_deleted
		FROM tracker.analysis_results`
	found, err := r.db.QueryxContext(ctx, query)
	if err != nil {
		return postgres.Translate("read the records", err)
	}
	defer func() { _ = found.Close() }() // the error is ignored: all rows have been read
	for found.Next() {
		var one record
		if err := found.StructScan(&one); err != nil {
			return fmt.Errorf("read the records: %w", err)
		}
		see(one)
	}
	return postgres.Translate("read the records", found.Err())
}
