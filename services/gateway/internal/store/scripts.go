package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lib/pq"

	"sori.internal/services/gateway/internal/catalogue"
)

type scriptRow struct {
	ID          int64   `db:"id"`
	Version     int64   `db:"version"`
	Token       int64   `db:"token_id"`
	Start       float64 `db:"start_time"`
	End         float64 `db:"end_time"`
	Text        string  `db:"script"`
	Translation *string `db:"translation"`
}

func (r scriptRow) script() catalogue.Script { return catalogue.Script(r) }

// CreateScript stores a new script and returns it with its id.
func (s *Store) CreateScript(ctx context.Context, c catalogue.Script) (catalogue.Script, error) {
	const query = `
		INSERT INTO catalogue.scripts (token_id, start_time, end_time, script, translation)
		VALUES ($1, $2, $3, $4, $5)
		RETURNING id, version`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := s.db.QueryRowxContext(ctx, query, c.Token, c.Start, c.End, c.Text, c.Translation).Scan(&c.ID, &c.Version)
	if sqlState(err) == codeForeignKey {
		return c, catalogue.TokenMissing(err)
	}
	return c, translate("create script", err)
}

// Script returns one script.
func (s *Store) Script(ctx context.Context, id int64) (catalogue.Script, error) {
	const query = `
		SELECT id, version, token_id, start_time, end_time, script, translation
		FROM catalogue.scripts
		WHERE id = $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var row scriptRow
	err := s.db.GetContext(ctx, &row, query, id)
	return row.script(), translateEntry("read", kindScript, id, err)
}

// Scripts lists all scripts by id.
func (s *Store) Scripts(ctx context.Context, p catalogue.Page) ([]catalogue.Script, error) {
	const query = `
		SELECT id, version, token_id, start_time, end_time, script, translation
		FROM catalogue.scripts
		ORDER BY id
		OFFSET $1
		LIMIT $2`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var rows []scriptRow
	err := s.db.SelectContext(ctx, &rows, query, p.Skip, p.Limit)
	return convert(rows, scriptRow.script), translate("list scripts", err)
}

// TokenScripts lists the scripts of a token in the order of their start times.
func (s *Store) TokenScripts(ctx context.Context, id int64, p catalogue.Page) ([]catalogue.Script, error) {
	const query = `
		SELECT id, version, token_id, start_time, end_time, script, translation
		FROM catalogue.scripts
		WHERE token_id = $1
		ORDER BY start_time, id
		OFFSET $2
		LIMIT $3`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var rows []scriptRow
	err := s.db.SelectContext(ctx, &rows, query, id, p.Skip, p.Limit)
	if err == nil && len(rows) == 0 {
		_, err = s.References(ctx, id) // fails if there is no such token
		return []catalogue.Script{}, err
	}
	return convert(rows, scriptRow.script), translate("list scripts of a token", err)
}

// scriptsOf returns the first MaxPage scripts of each token, by the id of the token.
func (s *Store) scriptsOf(ctx context.Context, tokens ...int64) (map[int64][]catalogue.Script, error) {
	const query = `
		SELECT own.id, own.version, own.token_id, own.start_time, own.end_time, own.script, own.translation
		FROM unnest($1::bigint[]) AS wanted (id)
		CROSS JOIN LATERAL (
			SELECT id, version, token_id, start_time, end_time, script, translation
			FROM catalogue.scripts
			WHERE token_id = wanted.id
			ORDER BY start_time, id
			LIMIT $2) AS own
		ORDER BY own.token_id, own.start_time, own.id`
	var rows []scriptRow
	if err := s.db.SelectContext(ctx, &rows, query, pq.Int64Array(tokens), catalogue.MaxPage); err != nil {
		return nil, translate("read the scripts of tokens", err)
	}
	found := make(map[int64][]catalogue.Script, len(tokens))
	for _, row := range rows {
		found[row.Token] = append(found[row.Token], row.script())
	}
	return found, nil
}

// ReplaceScript overwrites the script with the id of c if its version matches, and returns the
// script with its new version.
func (s *Store) ReplaceScript(ctx context.Context, c catalogue.Script, m catalogue.Match) (catalogue.Script, error) {
	const query = `
		UPDATE catalogue.scripts
		SET token_id = $2, start_time = $3, end_time = $4, script = $5, translation = $6,
			version = version + 1, updated_at = now()
		WHERE id = $1
			AND ($7::bigint[] IS NULL OR version = ANY ($7))
		RETURNING version`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := s.db.GetContext(ctx, &c.Version, query, c.ID, c.Token, c.Start, c.End, c.Text, c.Translation, pq.Int64Array(m))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return c, noRowChanged(ctx, c.ID, s.Script)
	case sqlState(err) == codeForeignKey:
		return c, catalogue.TokenMissing(err)
	default:
		return c, translateEntry("replace", kindScript, c.ID, err)
	}
}

// DeleteScript removes a script if its version matches.
func (s *Store) DeleteScript(ctx context.Context, id int64, m catalogue.Match) error {
	const query = `
		DELETE FROM catalogue.scripts
		WHERE id = $1
			AND ($2::bigint[] IS NULL OR version = ANY ($2))`
	return deleteEntry(ctx, s.db, query, kindScript, id, m, s.Script)
}
