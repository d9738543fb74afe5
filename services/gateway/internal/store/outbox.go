package store

import (
	"context"
	"fmt"
)

// Pending implements catalogue.Outbox.
func (s *Store) Pending(ctx context.Context, limit int) ([]int64, error) {
	const query = `
		SELECT token_id
		FROM catalogue.deleted_tokens
		ORDER BY deleted_at, token_id
		LIMIT $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var tokens []int64
	err := s.db.SelectContext(ctx, &tokens, query, limit)
	return tokens, translate("read the outbox of deleted tokens", err)
}

// MarkPublished implements catalogue.Outbox.
func (s *Store) MarkPublished(ctx context.Context, token int64) error {
	const query = `
		DELETE FROM catalogue.deleted_tokens
		WHERE token_id = $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	_, err := s.db.ExecContext(ctx, query, token)
	return translate(fmt.Sprintf("remove token %d from the outbox", token), err)
}
