// Package store keeps the catalogue in Postgres, in a schema of its own.
//
// A change of an entry raises its version and asks for it in its WHERE, so that
// of two changes that are meant for one version one finds it gone, whatever races.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/postgres"
)

// Schema is where the gateway's tables are.
const Schema = "catalogue"

// queryTimeout bounds one query with the wait for a connection, so that a
// database that hangs is told from one that is slow.
const queryTimeout = 5 * time.Second

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the catalogue's tables.
type Store struct{ db *sqlx.DB }

// New makes a store.
func New(db *sqlx.DB) *Store { return &Store{db: db} }

// Migrate brings the schema up to date.
func (s *Store) Migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("open migrations: %w", err)
	}
	return postgres.Migrate(ctx, s.db, Schema, files)
}

// The kinds of entries, as failures name them.
const (
	kindToken  = "token"
	kindScript = "script"
	kindActor  = "actor"
)

// convert makes entries of the rows of a list.
func convert[R, T any](rows []R, entry func(R) T) []T {
	entries := make([]T, len(rows))
	for i, row := range rows {
		entries[i] = entry(row)
	}
	return entries
}

// ofEntry gives the failure of a query for one entry its kind.
func ofEntry(tried, kind string, id int64, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return catalogue.NotFound(kind, id)
	}
	return translate(fmt.Sprintf("%s %s %d", tried, kind, id), err)
}

// missed tells why a change met no row: because find finds none, or because it
// has another version.
func missed[T any](ctx context.Context, id int64, find func(context.Context, int64) (T, error)) error {
	if _, err := find(ctx, id); err != nil {
		return err
	}
	return catalogue.Stale()
}

// removed judges a deletion: one of no row is a miss.
func removed[T any](ctx context.Context, result sql.Result, id int64, find func(context.Context, int64) (T, error)) error {
	n, err := result.RowsAffected()
	if err != nil {
		return translate("count deleted rows", err)
	}
	if n == 0 {
		return missed(ctx, id, find)
	}
	return nil
}

// translate gives a database error its kind. A table that is not there is one
// that a migration is about to make: requests may come before the setup is done.
func translate(tried string, err error) error {
	if state(err) == codeUndefinedTable || state(err) == codeInvalidSchema {
		return postgres.NotSetUp(tried, err)
	}
	return postgres.Translate(tried, err)
}

// state is the SQLSTATE of an error; empty where it has none.
func state(err error) string {
	if e, ok := errors.AsType[*pq.Error](err); ok {
		return string(e.Code)
	}
	return ""
}

// SQLSTATEs (PostgreSQL manual, appendix A).
const (
	codeUndefinedTable = "42P01"
	codeInvalidSchema  = "3F000"
	codeForeignKey     = "23503"
	codeUnique         = "23505"
)
