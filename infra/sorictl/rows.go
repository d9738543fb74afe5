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

// rows reads the tracker's records. They are its own: nothing is written here.
type rows struct{ db *sqlx.DB }

// openRows prepares a pool. It does not dial.
func openRows(settings config.Lookup) (rows, error) {
	var cfg postgres.Config
	if err := config.Load(settings, &cfg); err != nil {
		return rows{}, err
	}
	db, err := postgres.Open(cfg, "tracker")
	return rows{db}, err
}

// row is a job's record, as far as an operator wants to see it.
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
	CreatedAt   *time.Time `db:"created_at"`
	UpdatedAt   *time.Time `db:"updated_at"`
}

// find reads one record; nil where there is none.
func (r rows) find(ctx context.Context, job string) (*row, error) {
	const query = `
		SELECT job_id, owner, token_id, status, progress, attempt, version, state_seq,
		       error_code, error_detail, error_retryable, file_name, media_type, size, sha256, duration,
		       s3_bucket, s3_key, octet_length(result::text) AS result_bytes, created_at, updated_at
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

// failure is what an operator wants to know of a job before it is retried.
type failure struct {
	JobID     string    `db:"job_id"`
	ErrorCode string    `db:"error_code"`
	Attempt   int       `db:"attempt"`
	UpdatedAt time.Time `db:"updated_at"`
}

// failed finds the jobs that have failed and that another try may help, unless it is
// forced; the newest first. Their recordings are stored: without that there is nothing
// to retry.
func (r rows) failed(ctx context.Context, c choice) ([]failure, error) {
	const query = `
		SELECT job_id, error_code, attempt, updated_at
		FROM tracker.analysis_results
		WHERE status = 'failed'
		  AND s3_key <> ''
		  AND ($4 OR error_retryable)
		  AND ($1 = '' OR error_code = $1)
		  AND ($2 = 0 OR updated_at >= now() - make_interval(secs => $2::double precision))
		ORDER BY updated_at DESC, job_id DESC
		LIMIT $3`
	var found []failure
	err := r.db.SelectContext(ctx, &found, query, c.Code, c.Since.Seconds(), c.N, c.Force)
	return found, postgres.Translate("find failed jobs", err)
}

// lasting counts the jobs that failed leaves out, since another try does not change
// why they failed.
func (r rows) lasting(ctx context.Context, c choice) (n int, err error) {
	const query = `
		SELECT count(*)
		FROM tracker.analysis_results
		WHERE status = 'failed'
		  AND s3_key <> ''
		  AND NOT error_retryable
		  AND ($1 = '' OR error_code = $1)
		  AND ($2 = 0 OR updated_at >= now() - make_interval(secs => $2::double precision))`
	err = r.db.GetContext(ctx, &n, query, c.Code, c.Since.Seconds())
	return n, postgres.Translate("count failed jobs", err)
}

// record is what a comparison needs of a job's record.
type record struct {
	JobID    string `db:"job_id"`
	Owner    string `db:"owner"`
	Status   string `db:"status"`
	StateSeq uint64 `db:"state_seq"`
	Shown    bool   `db:"shown"` // whether its received was seen
	Key      string `db:"s3_key"`
}

// each shows see every record.
func (r rows) each(ctx context.Context, see func(record)) error {
	const query = `
		SELECT job_id, owner, status, state_seq, created_at IS NOT NULL AS shown, s3_key
		FROM tracker.analysis_results`
	found, err := r.db.QueryxContext(ctx, query)
	if err != nil {
		return postgres.Translate("read the records", err)
	}
	defer func() { _ = found.Close() }() // what was read is read
	for found.Next() {
		var one record
		if err := found.StructScan(&one); err != nil {
			return fmt.Errorf("read the records: %w", err)
		}
		see(one)
	}
	return postgres.Translate("read the records", found.Err())
}
