// Package testdb connects tests to their own database. It is apart from the test kit, so that
// services without a database do not depend on its driver and its migrations.
package testdb

import (
	"github.com/jmoiron/sqlx"

	"sori.internal/shared/postgres"
	"sori.internal/shared/testkit"
)

// Open connects to the database of a kit as a service does that owns a schema.
func Open(k *testkit.Kit, schema string) *sqlx.DB {
	t := k.T()
	t.Helper()
	k.Database()
	var cfg postgres.Config
	k.Load(&cfg)
	db, err := postgres.Open(cfg, schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
