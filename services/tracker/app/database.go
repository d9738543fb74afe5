package app

import (
	"context"
	"errors"

	"sori.internal/services/tracker/internal/store"
	"sori.internal/shared/postgres"
)

// Schema is the schema of the tracker's tables.
const Schema = store.Schema

// Migrate applies the migrations of the tracker's schema, for a program that does so in place of
// the tracker.
func Migrate(ctx context.Context, cfg postgres.Config) (err error) {
	migrations, err := store.Migrations()
	if err != nil {
		return err
	}
	db, err := postgres.Open(cfg, Schema)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return postgres.Migrate(ctx, db, Schema, migrations)
}
