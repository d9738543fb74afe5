// Package store stores the catalogue in Postgres, in a schema of its own.
//
// A change of an entry increments its version and compares the version in its WHERE clause. If two
// changes of the same version run concurrently, one of them fails.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
)

// Schema is the schema of the gateway's tables.
const Schema = "catalogue"

// queryTimeout limits one query and its wait for a connection, so that a query to a database that
// hangs fails.
const queryTimeout = 5 * time.Second

//go:embed migrations/*.sql
var migrations embed.FS

// Store has the queries of the catalogue.
type Store struct {
	db *sqlx.DB
	// lists limits the number of lists that are read at the same time, so that connections remain
	// for uploads. A list may take long: a search for one letter reads every name.
	lists *postgres.Places
}

// New makes a store.
func New(db *sqlx.DB) *Store {
	return &Store{db: db, lists: postgres.NewPlaces(db)}
}

// selectList runs the query of a list as soon as one of the places for lists is free.
func (s *Store) selectList(ctx context.Context, tried string, rows any, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	release, err := s.lists.Acquire(ctx, principal.From(ctx).Owner)
	if err != nil {
		return translate(tried, err)
	}
	defer release()
	return translate(tried, s.db.SelectContext(ctx, rows, query, args...))
}

// pageOf converts the rows of a page to entries. found is the number of rows that the query found.
// The query reads one row more than the limit, so more entries follow if found exceeds the page's
// rows.
func pageOf[R, T any](rows []R, found int, limit int64, entry func(R) T) catalogue.List[T] {
	rows = rows[:min(int64(len(rows)), limit)]
	return catalogue.List[T]{Entries: convert(rows, entry), More: found > len(rows)}
}

// Migrate applies the migrations of the schema.
func (s *Store) Migrate(ctx context.Context) error {
	return s.Prepare(ctx, postgres.Config{Migrate: true})
}

// Prepare applies the migrations of the schema or, without cfg.Migrate, checks that they are
// applied (postgres.Prepare).
func (s *Store) Prepare(ctx context.Context, cfg postgres.Config) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("open migrations: %w", err)
	}
	return postgres.Prepare(ctx, s.db, cfg, Schema, files)
}

// The names of the kinds of entries in error messages.
const (
	kindToken  = "token"
	kindScript = "script"
	kindActor  = "actor"
)

// convert converts rows to entries.
func convert[R, T any](rows []R, entry func(R) T) []T {
	entries := make([]T, len(rows))
	for i, row := range rows {
		entries[i] = entry(row)
	}
	return entries
}

// containing returns the pattern of LIKE that matches every text that contains part.
func containing(part string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(part) + "%"
}

// translateEntry converts the error of a query for one entry: to catalogue.NotFound if the query
// found no row, otherwise as translate does. kind is the kind of the entry, such as kindToken.
// tried is the attempted operation, for the text of the error.
func translateEntry(tried, kind string, id int64, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return catalogue.NotFound(kind, id)
	}
	return translate(fmt.Sprintf("%s %s %d", tried, kind, id), err)
}

// noRowChanged returns why a change found no row: the entry does not exist, or it has another
// version.
func noRowChanged[T any](ctx context.Context, id int64, find func(context.Context, int64) (T, error)) error {
	if _, err := find(ctx, id); err != nil {
		return err
	}
	return catalogue.VersionMismatch()
}

// deleteEntry runs a query that deletes an entry if its version matches m. It returns a failure if
// the query deletes no row.
func deleteEntry[T any](
	ctx context.Context, db *sqlx.DB, query, kind string, id int64, m catalogue.Match, find func(context.Context, int64) (T, error),
) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	result, err := db.ExecContext(ctx, query, id, pq.Int64Array(m))
	if err != nil {
		return translateEntry("delete", kind, id, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return translate("count deleted rows", err)
	}
	if n == 0 {
		return noRowChanged(ctx, id, find)
	}
	return nil
}

// deleteBatch is the largest number of rows that one statement of a sweep deletes. A statement for
// all old rows could take longer than queryTimeout, and then no sweep would ever succeed.
const deleteBatch = 1000

// deleteInBatches repeats a statement that deletes at most $1 rows until none is left, and returns
// the number of deleted rows. args are the further arguments of the statement.
func (s *Store) deleteInBatches(ctx context.Context, tried, statement string, args ...any) (deleted int64, err error) {
	batch := func() (int64, error) {
		ctx, cancel := context.WithTimeout(ctx, queryTimeout)
		defer cancel()
		result, err := s.db.ExecContext(ctx, statement, append([]any{deleteBatch}, args...)...)
		if err != nil {
			return 0, translate(tried, err)
		}
		n, err := result.RowsAffected()
		return n, translate(tried, err)
	}
	for {
		n, err := batch()
		deleted += n
		if err != nil || n < deleteBatch {
			return deleted, err
		}
	}
}

// translate converts a database error to a failure with a kind. A missing table means that the
// migrations have not run yet: requests may arrive before the setup is done.
func translate(tried string, err error) error {
	switch postgres.SQLState(err) {
	case codeUndefinedTable, codeInvalidSchema:
		return postgres.NotMigrated(tried, err)
	default:
		return postgres.Translate(tried, err)
	}
}

// SQLSTATEs (PostgreSQL manual, appendix A).
const (
	codeUndefinedTable = "42P01"
	codeInvalidSchema  = "3F000"
	codeForeignKey     = "23503"
	codeUnique         = "23505"
)
