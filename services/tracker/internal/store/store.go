// Package store stores the records of jobs, and the deleted tokens, in Postgres.
//
// The package decides nothing about a job: in one transaction it locks the rows of a batch, calls
// Record.Merge, and writes the changed records. All replicas lock rows in the order of their ids,
// so that they cannot deadlock. If a batch has events of only one job, and this process was the
// last to write the job's row, the row is not locked: it is written on the condition that no other
// transaction has written it since.
package store

import (
	"embed"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"

	"sori.internal/shared/postgres"
)

// Schema is the Postgres schema with the tracker's tables.
const Schema = "tracker"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the schema's migrations.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// Store has the queries of the tracker.
type Store struct {
	db     *sqlx.DB
	lists  *postgres.Places // connections remain for the events of jobs, whatever clients list
	recent recent
}

// New makes a store.
func New(db *sqlx.DB) *Store {
	return &Store{db: db, lists: postgres.NewPlaces(db), recent: recent{records: map[string]writtenRecord{}}}
}

// timeout is the time limit of one transaction. It is shorter than the ack wait of the consumer, so
// that a connection that does not respond any more delays only one delivery.
const timeout = 8 * time.Second

// leastID sorts before the id of every job.
const leastID = "00000000-0000-0000-0000-000000000000"

// The SQLSTATEs with which queries fail if the migrations were not applied.
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
