package store

import (
	"context"
	"fmt"
)

// Untold implements catalogue.DeletedTokens.
func (s *Store) Untold(ctx context.Context, limit int) ([]int64, error) {
	const query = `
		SELECT token_id
		FROM catalogue.deleted_tokens
		ORDER BY deleted_at, token_id
		LIMIT $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var tokens []int64
	err := s.db.SelectContext(ctx, &tokens, query, limit)
	return tokens, translate("find deleted tokens", err)
}

// Told implements catalogue.DeletedTokens.
func (s *Store) Told(ctx context.Context, token int64) error {
	const query = `
		DELETE FROM catalogue.deleted_tokens
		WHERE token_id = $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	_, err := s.db.ExecContext(ctx, query, token)
	return translate(fmt.Sprintf("forget the deletion of token %d", token), err)
}
