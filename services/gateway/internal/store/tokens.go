package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/fault"
)

type tokenRow struct {
	ID          int64   `db:"id"`
	Name        string  `db:"token_name"`
	Actor       string  `db:"actor_name"`
	Category    *string `db:"category"`
	Start       float64 `db:"start_time"`
	End         float64 `db:"end_time"`
	TextGridURL *string `db:"s3_textgrid_url"`
	PitchURL    *string `db:"s3_pitch_url"`
	BGVoiceURL  *string `db:"s3_bgvoice_url"`
	YouTubeURL  *string `db:"youtube_url"`
}

func (r tokenRow) token() catalogue.Token { return catalogue.Token(r) }

// References implements upload.Tokens.
func (s *Store) References(ctx context.Context, token int64) (upload.References, error) {
	const query = `
		SELECT coalesce(s3_textgrid_url, ''), coalesce(s3_pitch_url, '')
		FROM tokens
		WHERE id = $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var r upload.References
	err := s.db.QueryRowxContext(ctx, query, token).Scan(&r.TextGridURL, &r.PitchURL)
	return r, ofToken("find", token, err)
}

// CreateToken stores a new token and returns it with its id.
func (s *Store) CreateToken(ctx context.Context, t catalogue.Token) (catalogue.Token, error) {
	const query = `
		INSERT INTO tokens (token_name, actor_name, category, start_time, end_time,
			s3_textgrid_url, s3_pitch_url, s3_bgvoice_url, youtube_url)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		RETURNING id`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := s.db.QueryRowxContext(ctx, query, t.Name, t.Actor, t.Category, t.Start, t.End,
		t.TextGridURL, t.PitchURL, t.BGVoiceURL, t.YouTubeURL).Scan(&t.ID)
	return t, translate("create token", err)
}

// Token returns one token.
func (s *Store) Token(ctx context.Context, id int64) (catalogue.Token, error) {
	const query = `
		SELECT id, token_name, actor_name, category, start_time, end_time,
			s3_textgrid_url, s3_pitch_url, s3_bgvoice_url, youtube_url
		FROM tokens
		WHERE id = $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var row tokenRow
	err := s.db.GetContext(ctx, &row, query, id)
	return row.token(), ofToken("read", id, err)
}

// Tokens lists the tokens that a filter chooses, by id.
func (s *Store) Tokens(ctx context.Context, f catalogue.Filter) ([]catalogue.Token, error) {
	const query = `
		SELECT id, token_name, actor_name, category, start_time, end_time,
			s3_textgrid_url, s3_pitch_url, s3_bgvoice_url, youtube_url
		FROM tokens
		WHERE ($1 = '' OR category = $1)
			AND ($2 = '' OR actor_name = $2)
			AND ($3 = '' OR position(lower($3) IN lower(token_name)) > 0)
		ORDER BY id
		OFFSET $4
		LIMIT $5`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var rows []tokenRow
	if err := s.db.SelectContext(ctx, &rows, query, f.Category, f.Actor, f.Search, f.Skip, f.Limit); err != nil {
		return nil, translate("list tokens", err)
	}
	tokens := make([]catalogue.Token, len(rows))
	for i, row := range rows {
		tokens[i] = row.token()
	}
	return tokens, nil
}

// ReplaceToken overwrites the token of t's id.
func (s *Store) ReplaceToken(ctx context.Context, t catalogue.Token) error {
	const query = `
		UPDATE tokens
		SET token_name = $2, actor_name = $3, category = $4, start_time = $5, end_time = $6,
			s3_textgrid_url = $7, s3_pitch_url = $8, s3_bgvoice_url = $9, youtube_url = $10, updated_at = now()
		WHERE id = $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	result, err := s.db.ExecContext(ctx, query, t.ID, t.Name, t.Actor, t.Category, t.Start, t.End,
		t.TextGridURL, t.PitchURL, t.BGVoiceURL, t.YouTubeURL)
	return changedToken("replace", t.ID, result, err)
}

// DeleteToken removes a token.
func (s *Store) DeleteToken(ctx context.Context, id int64) error {
	const query = `
		DELETE FROM tokens
		WHERE id = $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	result, err := s.db.ExecContext(ctx, query, id)
	return changedToken("delete", id, result, err)
}

// changedToken turns a change of no row into the failure that it is.
func changedToken(tried string, id int64, result sql.Result, err error) error {
	if err == nil {
		var n int64
		if n, err = result.RowsAffected(); err == nil && n == 0 {
			err = sql.ErrNoRows
		}
	}
	return ofToken(tried, id, err)
}

// ofToken gives the failure of a query for one token its kind.
func ofToken(tried string, id int64, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "token-not-found", fmt.Sprintf("There is no token %d.", id))
	}
	return translate(fmt.Sprintf("%s token %d", tried, id), err)
}
