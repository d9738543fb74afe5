package app

import (
	"context"
	"errors"

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

// Migrate brings the gateway's schema up to date, for a program that does so in its place.
func Migrate(ctx context.Context, cfg postgres.Config) (err error) {
	db, err := postgres.Open(cfg, Schema)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return store.New(db).Migrate(ctx)
}
