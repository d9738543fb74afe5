package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lib/pq"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/upload"
)

type tokenRow struct {
	ID          int64   `db:"id"`
	Version     int64   `db:"version"`
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

func (r tokenRow) token() catalogue.Token {
	return catalogue.Token{
		ID: r.ID, Version: r.Version, Name: r.Name, Actor: r.Actor, Category: r.Category, Start: r.Start, End: r.End,
		TextGridURL: r.TextGridURL, PitchURL: r.PitchURL, BGVoiceURL: r.BGVoiceURL, YouTubeURL: r.YouTubeURL,
	}
}

// References implements upload.Tokens.
func (s *Store) References(ctx context.Context, id int64) (upload.References, error) {
	const query = `
		SELECT coalesce(s3_textgrid_url, ''), coalesce(s3_pitch_url, '')
		FROM catalogue.tokens
		WHERE id = $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var r upload.References
	err := s.db.QueryRowxContext(ctx, query, id).Scan(&r.TextGridURL, &r.PitchURL)
	return r, translateEntry("find", kindToken, id, err)
}

// TokensWithReferences implements catalogue.TokensWithReferences.
func (s *Store) TokensWithReferences(ctx context.Context, after int64, limit int) ([]catalogue.Token, error) {
	const query = `
		SELECT id, version, token_name, actor_name, category, start_time, end_time,
			s3_textgrid_url, s3_pitch_url, s3_bgvoice_url, youtube_url
		FROM catalogue.tokens
		WHERE id > $1 AND (s3_textgrid_url IS NOT NULL OR s3_pitch_url IS NOT NULL)
		ORDER BY id
		LIMIT $2`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var rows []tokenRow
	if err := s.db.SelectContext(ctx, &rows, query, after, limit); err != nil {
		return nil, translate("list tokens with references", err)
	}
	tokens := make([]catalogue.Token, len(rows))
	for i, row := range rows {
		tokens[i] = row.token()
	}
	return tokens, nil
}

// CreateToken stores a new token and returns it with its id.
func (s *Store) CreateToken(ctx context.Context, t catalogue.Token) (catalogue.Token, error) {
	const query = `
		INSERT INTO catalogue.tokens (token_name, actor_name, category, start_time, end_time,
			s3_textgrid_url, s3_pitch_url, s3_bgvoice_url, youtube_url)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		RETURNING id, version`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := s.db.QueryRowxContext(ctx, query, t.Name, t.Actor, t.Category, t.Start, t.End,
		t.TextGridURL, t.PitchURL, t.BGVoiceURL, t.YouTubeURL).Scan(&t.ID, &t.Version)
	return t, translate("create token", err)
}

// Token returns one token.
func (s *Store) Token(ctx context.Context, id int64) (catalogue.Token, error) {
	const query = `
		SELECT id, version, token_name, actor_name, category, start_time, end_time,
			s3_textgrid_url, s3_pitch_url, s3_bgvoice_url, youtube_url
		FROM catalogue.tokens
		WHERE id = $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var row tokenRow
	if err := s.db.GetContext(ctx, &row, query, id); err != nil {
		return catalogue.Token{}, translateEntry("read", kindToken, id, err)
	}
	found := []catalogue.Token{row.token()}
	err := s.addScripts(ctx, found)
	return found[0], err
}

// Tokens lists the tokens that match a filter, by id.
func (s *Store) Tokens(ctx context.Context, f catalogue.Filter, p catalogue.Page) (catalogue.List[catalogue.Token], error) {
	const query = `
		SELECT id, version, token_name, actor_name, category, start_time, end_time,
			s3_textgrid_url, s3_pitch_url, s3_bgvoice_url, youtube_url
		FROM catalogue.tokens
		WHERE ($1 = '' OR category = $1)
			AND ($2 = '' OR actor_name = $2)
			AND ($3 = '%%' OR lower(token_name) LIKE lower($3))
		ORDER BY id
		OFFSET $4
		LIMIT $5`
	var rows []tokenRow
	err := s.selectList(ctx, "list tokens", &rows, query, f.Category, f.Actor, containing(f.Search), p.Skip, p.Limit+1)
	tokens := pageOf(rows, len(rows), p.Limit, tokenRow.token)
	if err == nil && !f.WithoutScripts {
		err = s.addScripts(ctx, tokens.Entries)
	}
	return tokens, err
}

// ReplaceToken overwrites the token whose id is t.ID with t, if the token's version matches m. It
// returns the token with its new version.
func (s *Store) ReplaceToken(ctx context.Context, t catalogue.Token, m catalogue.Match) (catalogue.Token, error) {
	const query = `
		UPDATE catalogue.tokens
		SET token_name = $2, actor_name = $3, category = $4, start_time = $5, end_time = $6,
			s3_textgrid_url = $7, s3_pitch_url = $8, s3_bgvoice_url = $9, youtube_url = $10,
			version = version + 1, updated_at = now()
		WHERE id = $1
			AND ($11::bigint[] IS NULL OR version = ANY ($11))
		RETURNING version`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := s.db.GetContext(ctx, &t.Version, query, t.ID, t.Name, t.Actor, t.Category, t.Start, t.End,
		t.TextGridURL, t.PitchURL, t.BGVoiceURL, t.YouTubeURL, pq.Int64Array(m))
	if errors.Is(err, sql.ErrNoRows) {
		return t, noRowChanged(ctx, t.ID, s.Token)
	}
	if err != nil {
		return t, translateEntry("replace", kindToken, t.ID, err)
	}
	changed := []catalogue.Token{t}
	err = s.addScripts(ctx, changed)
	return changed[0], err
}

// DeleteToken deletes a token if its version matches m. The foreign key deletes its scripts too.
// The same statement writes the token into the outbox, from which the deletion is published.
func (s *Store) DeleteToken(ctx context.Context, id int64, m catalogue.Match) error {
	const query = `
		WITH deleted AS (
			DELETE FROM catalogue.tokens
			WHERE id = $1
				AND ($2::bigint[] IS NULL OR version = ANY ($2))
			RETURNING id)
		INSERT INTO catalogue.deleted_tokens (token_id)
		SELECT id
		FROM deleted`
	return deleteEntry(ctx, s.db, query, kindToken, id, m, s.Token)
}
