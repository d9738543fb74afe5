// Package store keeps the records in Postgres.
//
// It holds no rule of what a record is: it locks the rows of a batch, lets the
// core merge, and writes back what changed, in one transaction. All copies lock
// rows in the order of their ids, so that none waits for another in a circle.
package store

import (
	"embed"
	"errors"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/shared/postgres"
)

// Schema is where the tracker's tables are.
const Schema = "tracker"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the schema's migrations.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// Store is the tracker's schema.
type Store struct{ db *sqlx.DB }

// New makes a store.
func New(db *sqlx.DB) *Store { return &Store{db: db} }

// timeout bounds one transaction, so that a connection that answers no more
// costs an event's delivery and not the consumer. It is shorter than the time
// after which the bus delivers again.
const timeout = 8 * time.Second

// leastID comes before every job's id.
const leastID = "00000000-0000-0000-0000-000000000000"

// States of a database that the migrations have not reached yet.
const (
	undefinedTable  = "42P01"
	undefinedColumn = "42703"
	invalidSchema   = "3F000"
)

func translate(tried string, err error) error {
	if pqErr, ok := errors.AsType[*pq.Error](err); ok {
		switch pqErr.Code {
		case undefinedTable, undefinedColumn, invalidSchema:
			return postgres.NotSetUp(tried, err)
		}
	}
	return postgres.Translate(tried, err)
}
