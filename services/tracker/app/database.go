package app

import (
	"context"
	"errors"

	"sori.internal/services/tracker/internal/store"
	"sori.internal/shared/postgres"
)

// Schema is the schema of the tracker's tables.
const Schema = store.Schema

// Migrate brings the tracker's schema up to date, for a program that does so in its place.
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
