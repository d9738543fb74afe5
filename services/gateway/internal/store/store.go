// Package store keeps the catalogue in Postgres, in a schema of its own.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/shared/fault"
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

// translate gives a database error its kind. A table that is not there is one
// that a migration is about to make: requests may come before the setup is done.
func translate(tried string, err error) error {
	if e, ok := errors.AsType[*pq.Error](err); ok && (string(e.Code) == codeUndefinedTable || string(e.Code) == codeInvalidSchema) {
		return fault.Away("database", fmt.Errorf("%s: %w", tried, err))
	}
	return postgres.Translate(tried, err)
}

// SQLSTATEs (PostgreSQL manual, appendix A).
const (
	codeUndefinedTable = "42P01"
	codeInvalidSchema  = "3F000"
)
