// Package store stores the records of jobs, and the deleted tokens, in Postgres.
//
// It has no rules of its own: in one transaction it locks the rows of a batch, calls Record.Merge,
// and writes the changed records. All replicas lock rows in the order of their ids, so that they
// cannot deadlock. If this process was the last to write the row of a single job, it does not lock
// the row: it writes the row on the condition that no other transaction has written it since.
package store

import (
	"embed"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"

	"sori.internal/shared/postgres"
)

// Schema is the schema of the tracker's tables.
const Schema = "tracker"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the schema's migrations.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// Store has the queries of the tracker.
type Store struct {
	db     *sqlx.DB
	recent recent
}

// New makes a store.
func New(db *sqlx.DB) *Store {
	return &Store{db: db, recent: recent{records: map[string]writtenRecord{}}}
}

// timeout limits one transaction. If a connection no longer responds, only one delivery of an event
// fails, and the consumer continues. The timeout is shorter than the ack wait of the consumer.
const timeout = 8 * time.Second

// leastID sorts before the id of every job.
const leastID = "00000000-0000-0000-0000-000000000000"

// The SQLSTATEs of a database that is not migrated yet.
const (
	undefinedTable  = "42P01"
	undefinedColumn = "42703"
	invalidSchema   = "3F000"
)

func translate(tried string, err error) error {
	switch postgres.SQLState(err) {
	case undefinedTable, undefinedColumn, invalidSchema:
		return postgres.NotMigrated(tried, err)
	default:
		return postgres.Translate(tried, err)
	}
}
