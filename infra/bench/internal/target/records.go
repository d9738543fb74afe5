package target

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	"github.com/lib/pq"

	"sori.internal/infra/internal/harness"
)

// records is the name of the database that Records creates.
const records = "bench_records"

// Records restarts the tracker with a new database without jobs, and returns a connection to that database. restore restarts
// the tracker with the previous database and drops the new one.
func (w *Target) Records(ctx context.Context) (db *sql.DB, restore func() error, err error) {
	if w.system == nil {
		return nil, nil, ErrNotOurs
	}
	usual := w.system.Stack.DatabaseURL
	u, err := url.Parse(usual)
	if err != nil {
		return nil, nil, fmt.Errorf("read the database's URL: %w", err)
	}
	if err := w.administer(ctx, `CREATE DATABASE `+records+` OWNER `+pq.QuoteIdentifier(u.User.Username())); err != nil {
		return nil, nil, err
	}
	u.Path = "/" + records
	if db, err = sql.Open("postgres", u.String()); err != nil {
		return nil, nil, fmt.Errorf("reach the records: %w", err)
	}
	restore = func() error {
		ctx := context.WithoutCancel(ctx)
		return errors.Join(w.keepRecords(ctx, usual), db.Close(), w.administer(ctx, `DROP DATABASE `+records+` WITH (FORCE)`))
	}
	if err := w.keepRecords(ctx, u.String()); err != nil {
		return nil, nil, errors.Join(err, restore())
	}
	return db, restore, nil
}

// keepRecords restarts the tracker with another database, as the owner of its tables.
func (w *Target) keepRecords(ctx context.Context, database string) error {
	return w.Restart(ctx, map[string]string{"DATABASE_URL": database, "DATABASE_MIGRATE": "true"}, harness.Tracker)
}

// administer executes a statement as the superuser.
func (w *Target) administer(ctx context.Context, statement string) error {
	db, err := sql.Open("postgres", w.system.Stack.AdminURL)
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
