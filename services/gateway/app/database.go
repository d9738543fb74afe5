package app

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"

	"sori.internal/services/gateway/internal/store"
	"sori.internal/shared/postgres"
)

// Schema is the schema of the gateway's tables.
const Schema = store.Schema

// The tables of Schema that the operator's tool uses.
const (
	KeysTable  = "api_keys"
	AuditTable = "audit_log"
)

// Migrate applies the migrations of the gateway's schema, for a program that does so in place of
// the gateway.
func Migrate(ctx context.Context, cfg postgres.Config) (err error) {
	db, err := openDatabase(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.store.Migrate(ctx)
}

// database is the gateway's database, as a program of the operator uses it.
type database struct {
	db    *sqlx.DB
	store *store.Store
}

// openDatabase prepares the access to a database. It does not dial.
func openDatabase(cfg postgres.Config) (database, error) {
	db, err := postgres.Open(cfg, store.Schema)
	if err != nil {
		return database{}, err
	}
	return database{db: db, store: store.New(db)}, nil
}

// Close implements io.Closer.
func (d database) Close() error { return d.db.Close() }
