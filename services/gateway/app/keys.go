package app

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/store"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
)

// APIKey is an API key, without its secret.
type APIKey = access.Key

// NewAPIKey describes a new key. It must obey the rules of POST /api-keys for an admin.
type NewAPIKey = access.KeyRequest

// APIKeys manages the API keys in a database without a running gateway. A program of the operator
// uses it, for example to make the first key.
type APIKeys struct {
	db    *sqlx.DB
	store *store.Store
}

// OpenAPIKeys prepares the access to the keys in a database. It does not dial.
func OpenAPIKeys(cfg postgres.Config) (*APIKeys, error) {
	db, err := postgres.Open(cfg, store.Schema)
	if err != nil {
		return nil, err
	}
	return &APIKeys{db: db, store: store.New(db)}, nil
}

// Close implements io.Closer.
func (k *APIKeys) Close() error { return k.db.Close() }

// Create makes a key. It returns the key and the key's text, which is not stored.
func (k *APIKeys) Create(ctx context.Context, n NewAPIKey) (made APIKey, text string, err error) {
	asked, err := n.Key(principal.Open(), time.Now())
	if err != nil {
		return made, "", err
	}
	stored, text := access.NewKey(asked)
	made, err = k.store.CreateAPIKey(ctx, stored)
	return made, text, err
}

// List returns the keys of an owner, or of all if it is empty, by their age.
func (k *APIKeys) List(ctx context.Context, owner string) (all []APIKey, err error) {
	for {
		page, err := k.store.APIKeys(ctx, owner, catalogue.Page{Skip: int64(len(all)), Limit: catalogue.MaxPage})
		if err != nil {
			return nil, err
		}
		all = append(all, page.Entries...)
		if !page.More {
			return all, nil
		}
	}
}

// Revoke revokes a key. The gateways refuse it within five seconds.
func (k *APIKeys) Revoke(ctx context.Context, id string) error {
	return k.store.RevokeAPIKey(ctx, id, "")
}
