package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lib/pq"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/postgres"
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
	if postgres.SQLState(err) == codeForeignKey {
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
func (s *Store) Scripts(ctx context.Context, p catalogue.Page) (catalogue.List[catalogue.Script], error) {
	return s.scripts(ctx, "id", "true", p)
}

// TokenScripts lists the scripts of a token in the order of their start times.
func (s *Store) TokenScripts(ctx context.Context, id int64, p catalogue.Page) (catalogue.List[catalogue.Script], error) {
	found, err := s.scripts(ctx, "start_time, id", "token_id = $4", p, id)
	if err == nil && len(found.Entries) == 0 {
		_, err = s.References(ctx, id) // fails if there is no such token
	}
	return found, err
}

// scripts lists the scripts that match a condition in SQL. order is the list of columns by which
// they are sorted. The page ends before its limit if its scripts would have more than MaxText
// bytes.
func (s *Store) scripts(ctx context.Context, order, condition string, p catalogue.Page, args ...any) (catalogue.List[catalogue.Script], error) {
	query := fmt.Sprintf(`
		WITH page AS (
			SELECT id, start_time, octet_length(script) + coalesce(octet_length(translation), 0) AS bytes
			FROM catalogue.scripts
			WHERE %[2]s
			ORDER BY %[1]s
			OFFSET $1
			LIMIT $2),
		sized AS (
			SELECT id, sum(bytes) OVER (ORDER BY %[1]s) AS bytes, count(*) OVER () AS found
			FROM page)
		SELECT sized.found, script.*
		FROM sized
		JOIN (
			SELECT id, version, token_id, start_time, end_time, script, translation
			FROM catalogue.scripts) AS script USING (id)
		WHERE sized.bytes <= $3
		ORDER BY %[1]s`, order, condition)
	type row struct {
		scriptRow

		Found int `db:"found"` // number of rows, including the rows that are left out because of MaxText
	}
	var rows []row
	err := s.selectList(ctx, "list scripts", &rows, query, append([]any{p.Skip, p.Limit + 1, catalogue.MaxText}, args...)...)
	found := 0
	if len(rows) > 0 {
		found = rows[0].Found
	}
	return pageOf(rows, found, p.Limit, func(r row) catalogue.Script { return r.script() }), err
}

// addScripts adds to each token its first scripts: at most MaxPage scripts of each token, and at
// most MaxText bytes of text for all tokens together. The query adds up the lengths of the texts
// before it reads them, since Postgres knows the length of a long text without reading it. If a
// token has further scripts, the query also returns the first of them without its text. addScripts
// does not add this script, and marks the token as truncated.
func (s *Store) addScripts(ctx context.Context, tokens []catalogue.Token) error {
	const query = `
		WITH sized AS (
			SELECT own.id, own.token_id, own.start_time,
				row_number() OVER (PARTITION BY own.token_id ORDER BY own.start_time, own.id) AS place,
				sum(own.bytes) OVER (ORDER BY own.token_id, own.start_time, own.id) AS bytes
			FROM unnest($1::bigint[]) AS wanted (id)
			CROSS JOIN LATERAL (
				SELECT id, token_id, start_time, octet_length(script) + coalesce(octet_length(translation), 0) AS bytes
				FROM catalogue.scripts
				WHERE token_id = wanted.id
				ORDER BY start_time, id
				LIMIT $2::int + 1) AS own),
		chosen AS (
			SELECT id, token_id, start_time, place <= $2 AND bytes <= $3 AS shown
			FROM sized),
		wanted AS (
			SELECT *, lag(shown, 1, true) OVER (PARTITION BY token_id ORDER BY start_time, id) AS shown_before
			FROM chosen)
		SELECT wanted.shown, wanted.id, wanted.token_id, wanted.start_time, coalesce(script.version, 0) AS version,
			coalesce(script.end_time, 0) AS end_time, coalesce(script.script, '') AS script, script.translation
		FROM wanted
		LEFT JOIN catalogue.scripts AS script ON script.id = wanted.id AND wanted.shown
		WHERE wanted.shown_before
		ORDER BY wanted.token_id, wanted.start_time, wanted.id`
	var rows []struct {
		scriptRow

		Shown bool `db:"shown"`
	}
	ids := pq.Int64Array(convert(tokens, func(t catalogue.Token) int64 { return t.ID }))
	if err := s.selectList(ctx, "read the scripts of tokens", &rows, query, ids, catalogue.MaxPage, catalogue.MaxText); err != nil {
		return err
	}
	byID := make(map[int64]*catalogue.Token, len(tokens))
	for i := range tokens {
		byID[tokens[i].ID] = &tokens[i]
	}
	for _, row := range rows {
		t := byID[row.Token]
		if row.Shown {
			t.Scripts = append(t.Scripts, row.script())
		} else {
			t.ScriptsTruncated = true
		}
	}
	return nil
}

// ReplaceScript overwrites the script whose id is c.ID with c, if the script's version matches m.
// It returns the script with its new version.
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
	case postgres.SQLState(err) == codeForeignKey:
		return c, catalogue.TokenMissing(err)
	default:
		return c, translateEntry("replace", kindScript, c.ID, err)
	}
}

// DeleteScript removes a script if its version matches m.
func (s *Store) DeleteScript(ctx context.Context, id int64, m catalogue.Match) error {
	const query = `
		DELETE FROM catalogue.scripts
		WHERE id = $1
			AND ($2::bigint[] IS NULL OR version = ANY ($2))`
	return deleteEntry(ctx, s.db, query, kindScript, id, m, s.Script)
}
