// Package testdb connects tests to their own database. It is separate from package testkit, so that
// services without a database do not depend on the driver and the migrations.
package testdb

import (
	"github.com/jmoiron/sqlx"

	"sori.internal/shared/postgres"
	"sori.internal/shared/testkit"
)

// Open connects to the database of a kit like the service that owns the schema. If the kit has no
// database yet, Open creates a migrated one (testkit.Kit.MigratedDatabase).
func Open(k *testkit.Kit, schema string) *sqlx.DB {
	t := k.T()
	t.Helper()
	k.MigratedDatabase()
	var cfg postgres.Config
	k.Load(&cfg)
	db, err := postgres.Open(cfg, schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
