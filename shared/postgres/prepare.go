package postgres

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
)

// Prepare applies the migrations of a service at its start (Migrate). Without Config.Migrate it only
// checks that another program has applied them, and fails with fault.Unavailable if not.
func Prepare(ctx context.Context, db *sqlx.DB, cfg Config, schema string, migrations fs.FS) error {
	if cfg.Migrate {
		return Migrate(ctx, db, schema, migrations)
	}
	tried := "check the migrations of " + schema
	var newest int64
	files, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return fmt.Errorf("%s: %w", tried, err)
	}
	for _, file := range files {
		version, err := goose.NumericComponent(file)
		if err != nil {
			return fmt.Errorf("%s: %w", tried, err)
		}
		newest = max(newest, version)
	}
	// The catalog is queried first: the table does not exist before the first migration.
	const exists = `
		SELECT EXISTS (
			SELECT
			FROM pg_tables
			WHERE schemaname = $1 AND tablename = 'migrations')`
	var found bool
	if err := db.GetContext(ctx, &found, exists, schema); err != nil {
		return Translate(tried, err)
	}
	var applied int64
	if found {
		query := `
			SELECT coalesce(max(version_id), 0)
			FROM ` + pq.QuoteIdentifier(schema) + `.migrations
			WHERE is_applied`
		if err := db.GetContext(ctx, &applied, query); err != nil {
			return Translate(tried, err)
		}
	}
	if applied < newest {
		return NotMigrated(tried, fmt.Errorf("version %d of %d is applied: run `sorictl provision`", applied, newest))
	}
	return nil
}
