package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/audit"
	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/config"
	"sori.internal/shared/logging"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
)

// APIKey is an API key, without its secret.
type APIKey = access.Key

// NewAPIKey describes a new key. The rules of POST /api-keys for an admin apply.
type NewAPIKey = access.KeyRequest

// APIKeys manages the API keys in a database without a running gateway, for operators' programs,
// for example to make the first key.
type APIKeys struct{ database }

// OpenAPIKeys prepares the access to the keys in a database. It does not dial.
func OpenAPIKeys(cfg postgres.Config) (*APIKeys, error) {
	db, err := openDatabase(cfg)
	return &APIKeys{db}, err
}

// CreateAPIKey makes one key in the database that the settings describe (postgres.Config), and returns its text.
func CreateAPIKey(ctx context.Context, settings config.Lookup, name, owner string, scopes ...principal.Scope) (text string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make an API key: %w", err)
		}
	}()
	var cfg postgres.Config
	if err := config.Load(settings, &cfg); err != nil {
		return "", err
	}
	keys, err := OpenAPIKeys(cfg)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	asked := NewAPIKey{Name: name, Owner: &owner}
	for _, s := range scopes {
		asked.Scopes = append(asked.Scopes, string(s))
	}
	_, text, err = keys.Create(ctx, asked)
	return text, err
}

// Create makes a key. It returns the key and the key's text, which is not stored.
func (k *APIKeys) Create(ctx context.Context, n NewAPIKey) (made APIKey, text string, err error) {
	asked, err := n.Key(principal.Open(), time.Now())
	if err != nil {
		return made, "", err
	}
	stored, text := access.NewKey(asked)
	if err = k.record(ctx, "create", stored.ID); err != nil {
		return made, "", err
	}
	made, err = k.store.CreateAPIKey(ctx, stored)
	return made, text, err
}

// record adds a change by the operator to the audit log, before the change: no key is made or
// revoked without an entry.
func (k *APIKeys) record(ctx context.Context, change, id string) error {
	return k.store.AppendAudit(ctx, []audit.Entry{{At: time.Now(), Owner: operator, Action: "sorictl keys " + change, Object: logging.SafePath("/api-keys/" + id)}})
}

// List returns the keys of an owner, or those of all owners if owner is empty, oldest first.
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

// Revoke revokes a key. The gateways may accept the key for at most five seconds more.
func (k *APIKeys) Revoke(ctx context.Context, id string) error {
	if err := k.record(ctx, "revoke", id); err != nil {
		return err
	}
	return k.store.RevokeAPIKey(ctx, id, "")
}
