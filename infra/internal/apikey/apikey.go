// Package apikey makes API keys in the database of an installation, without its gateway.
package apikey

import (
	"context"
	"errors"
	"fmt"

	gateway "sori.internal/services/gateway/app"
	"sori.internal/shared/config"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
)

// Create makes a key of an owner and returns its text. The parameter settings has the settings of a
// connection to the database (postgres.Config). The parameter name is the name of the key.
func Create(ctx context.Context, settings map[string]string, name, owner string, scopes ...principal.Scope) (key string, err error) {
	var cfg postgres.Config
	if err := config.Load(config.Map(settings), &cfg); err != nil {
		return "", fmt.Errorf("make an API key: %w", err)
	}
	keys, err := gateway.OpenAPIKeys(cfg)
	if err != nil {
		return "", fmt.Errorf("make an API key: %w", err)
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	asked := gateway.NewAPIKey{Name: name, Owner: &owner}
	for _, s := range scopes {
		asked.Scopes = append(asked.Scopes, string(s))
	}
	if _, key, err = keys.Create(ctx, asked); err != nil {
		return "", fmt.Errorf("make an API key: %w", err)
	}
	return key, nil
}

// User returns the scopes of a user (principal.UserScopes).
func User() []principal.Scope {
	return []principal.Scope{principal.JobsRead, principal.JobsWrite, principal.CatalogueRead}
}
