package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// Delete implements command.TokenRows.
func (s *Store) Delete(ctx context.Context, token int64, at time.Time) error {
	const query = `
		INSERT INTO tracker.deleted_tokens (token_id, deleted_at)
		VALUES ($1, $2)
		ON CONFLICT (token_id) DO NOTHING`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.db.ExecContext(ctx, query, token, at)
	return translate(fmt.Sprintf("store the deletion of token %d", token), err)
}

// Deleted implements command.TokenRows.
func (s *Store) Deleted(ctx context.Context, tokens []int64) ([]int64, error) {
	const query = `
		SELECT token_id
		FROM tracker.deleted_tokens
		WHERE token_id = ANY ($1::bigint[])`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var deleted []int64
	err := s.db.SelectContext(ctx, &deleted, query, pq.Array(tokens))
	return deleted, translate("find deleted tokens", err)
}

// JobsOf implements command.TokenRows. It uses the index by token and status, which contains only
// jobs whose received event is merged.
func (s *Store) JobsOf(ctx context.Context, token int64, limit int) ([]string, error) {
	const query = `
		SELECT job_id
		FROM tracker.analysis_results
		WHERE token_id = $1
		  AND status IN ('processing', 'completed', 'failed', 'canceled')
		  AND created_at IS NOT NULL
		LIMIT $2`
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var jobs []string
	err := s.db.SelectContext(ctx, &jobs, query, token, limit)
	return jobs, translate(fmt.Sprintf("find the jobs of token %d", token), err)
}
