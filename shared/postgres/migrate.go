package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"sori.internal/shared/fault"
)

// Migrate creates the schema if it does not exist, and applies the migrations that are not applied
// yet, in the order of their numbers. Replicas that start together wait for one another. The lock
// is a row with a lease and not a session lock, since sessions do not exist behind a pooler. The
// pool must allow two connections.
func Migrate(ctx context.Context, db *sqlx.DB, schema string, migrations fs.FS) error {
	if err := makeSchema(ctx, db, schema); err != nil {
		return Translate("make schema "+schema, err)
	}
	locker, err := lock.NewPostgresTableLocker(
		lock.WithTableName(schema+".migrations_lock"), lock.WithTableLeaseDuration(lease),
		lock.WithTableHeartbeatInterval(lease/5), lock.WithTableLockTimeout(time.Second, 300),
		lock.WithTableRetryPolicy(held))
	if err != nil {
		return fmt.Errorf("migrate %s: %w", schema, err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db.DB, migrations, goose.WithLocker(locker),
		goose.WithTableName(schema+".migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrate %s: %w", schema, err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return Translate("migrate "+schema, interrupted(ctx, err))
	}
	return nil
}

// lease is how long the migrations stay locked after the replica that applies them was killed.
const lease = 15 * time.Second

// held reports whether the lock could not be taken because another replica has it. The caller then
// tries again. In this case goose returns an error without a type of its own. Therefore held
// returns true for every error that does not come from the database.
func held(err error) bool {
	return fault.Is(Translate("lock migrations", err), fault.Internal) && SQLState(err) == ""
}

// makeSchema creates the schema if it does not exist. It checks first, since even CREATE SCHEMA IF
// NOT EXISTS requires a permission that the service may lack.
func makeSchema(ctx context.Context, db *sqlx.DB, schema string) error {
	if err := db.PingContext(ctx); err != nil {
		return err
	}
	err := Tx(ctx, db, func(tx *sqlx.Tx) error {
		// Two concurrent sessions that create the same schema can both find that it does not exist. The
		// lock belongs to the transaction and ends with it.
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtext('sori schema'))`); err != nil {
			return err
		}
		const query = `
			SELECT EXISTS (
				SELECT
				FROM pg_namespace
				WHERE nspname = $1)`
		var exists bool
		if err := tx.GetContext(ctx, &exists, query, schema); err != nil || exists {
			return err
		}
		_, err := tx.ExecContext(ctx, `CREATE SCHEMA `+pq.QuoteIdentifier(schema))
		return err
	})
	// A pooler in statement mode closes a connection that begins a transaction, and the driver loses
	// the pooler's message: single statements work, but transactions do not.
	if errors.Is(err, driver.ErrBadConn) && db.PingContext(ctx) == nil {
		return refused(advicePoolMode, err)
	}
	return err
}
