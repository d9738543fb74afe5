package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"sori.internal/services/gateway/internal/upload"
)

type uploadKeyRow struct {
	Token  int64  `db:"token_id"`
	Job    string `db:"job_id"`
	Holder string `db:"holder"`
	SHA256 string `db:"sha256"`
}

func (r uploadKeyRow) claim(key upload.Key) upload.Claim {
	return upload.Claim{Key: key, Token: r.Token, Job: r.Job, Holder: r.Holder, SHA256: r.SHA256}
}

// Claim implements upload.Claims.
func (s *Store) Claim(ctx context.Context, wanted upload.Claim, lease, keep time.Duration) (upload.Claim, error) {
	// In SET and WHERE, held is the row before the update.
	const query = `
		INSERT INTO catalogue.upload_keys AS held (key_hash, token_id, job_id, holder, lease_until, expires_at)
		VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5), now() + make_interval(secs => $6))
		ON CONFLICT (key_hash) DO UPDATE
		SET token_id = excluded.token_id,
			job_id = CASE WHEN held.expires_at <= now() THEN excluded.job_id ELSE held.job_id END,
			holder = excluded.holder,
			sha256 = NULL,
			lease_until = excluded.lease_until,
			created_at = CASE WHEN held.expires_at <= now() THEN excluded.created_at ELSE held.created_at END,
			expires_at = excluded.expires_at
		WHERE held.lease_until <= now()
			AND (held.expires_at <= now() OR held.sha256 IS NULL AND held.token_id = excluded.token_id)
		RETURNING job_id`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	claim := wanted
	err := s.db.GetContext(ctx, &claim.Job, query, wanted.Key[:], wanted.Token, wanted.Job, wanted.Holder, lease.Seconds(), keep.Seconds())
	if errors.Is(err, sql.ErrNoRows) {
		return s.held(ctx, wanted)
	}
	return claim, translate("claim a key", err)
}

// held returns the existing claim on a key, which belongs to another upload or to a job.
func (s *Store) held(ctx context.Context, wanted upload.Claim) (upload.Claim, error) {
	const query = `
		SELECT token_id, job_id, holder, coalesce(encode(sha256, 'hex'), '') AS sha256
		FROM catalogue.upload_keys
		WHERE key_hash = $1`
	var row uploadKeyRow
	err := s.db.GetContext(ctx, &row, query, wanted.Key[:])
	if errors.Is(err, sql.ErrNoRows) { // the claim was deleted after the query of Claim
		return upload.Claim{Key: wanted.Key, Token: wanted.Token}, nil
	}
	return row.claim(wanted.Key), translate("read a key", err)
}

// Renew implements upload.Claims.
func (s *Store) Renew(ctx context.Context, c upload.Claim, lease time.Duration) error {
	const query = `
		UPDATE catalogue.upload_keys
		SET lease_until = now() + make_interval(secs => $3)
		WHERE key_hash = $1
			AND holder = $2
			AND sha256 IS NULL`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	_, err := s.db.ExecContext(ctx, query, c.Key[:], c.Holder, lease.Seconds())
	return translate("renew the lease of job "+c.Job, err)
}

// Finish implements upload.Claims.
func (s *Store) Finish(ctx context.Context, c upload.Claim, keep time.Duration) error {
	const query = `
		UPDATE catalogue.upload_keys
		SET sha256 = decode($3, 'hex'), lease_until = now(), expires_at = now() + make_interval(secs => $4)
		WHERE key_hash = $1
			AND holder = $2
			AND sha256 IS NULL`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	_, err := s.db.ExecContext(ctx, query, c.Key[:], c.Holder, c.SHA256, keep.Seconds())
	return translate("finish the claim of job "+c.Job, err)
}

// Free implements upload.Claims.
func (s *Store) Free(ctx context.Context, c upload.Claim) error {
	const query = `
		DELETE FROM catalogue.upload_keys
		WHERE key_hash = $1
			AND holder = $2
			AND sha256 IS NULL`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	_, err := s.db.ExecContext(ctx, query, c.Key[:], c.Holder)
	return translate("free the key of job "+c.Job, err)
}

// DeleteExpiredKeys implements upload.ExpiredKeys. Replicas that sweep at the same time delete
// different rows.
func (s *Store) DeleteExpiredKeys(ctx context.Context) (int64, error) {
	const query = `
		DELETE FROM catalogue.upload_keys
		WHERE key_hash IN (
			SELECT key_hash
			FROM catalogue.upload_keys
			WHERE expires_at <= now()
				AND lease_until <= now()
			ORDER BY expires_at
			LIMIT $1
			FOR UPDATE SKIP LOCKED)`
	return s.deleteInBatches(ctx, "delete expired keys", query)
}
