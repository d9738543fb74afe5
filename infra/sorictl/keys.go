package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	gateway "sori.internal/services/gateway/app"
	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
)

// withKeys calls the function work with the API keys of the installation that the operator has selected.
func (t terminal) withKeys(work func(*gateway.APIKeys) error) (err error) {
	cfg, err := t.database()
	if err != nil {
		return err
	}
	keys, err := gateway.OpenAPIKeys(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	return work(keys)
}

// database returns how to connect to the database of the installation that the operator has selected.
func (t terminal) database() (cfg postgres.Config, err error) {
	lookup, err := t.settings()
	if err != nil {
		return cfg, err
	}
	return cfg, config.Load(lookup, &cfg)
}

type keysCreate struct {
	Name   string   `arg:"" help:"the name of the key, which should describe its use"`
	Owner  string   `required:"" help:"the owner of the key: a user of the OpenID provider, or any name"`
	Scopes []string `required:"" help:"the scopes of the key, separated by commas: jobs:read, jobs:write, catalogue:read, catalogue:write, admin"`
	Valid  period   `help:"how long the key is valid, such as 2160h; without this flag the key never expires"`
}

// Run creates a key. It writes only the key to stdout, so that a script can save it, and everything else to
// stderr.
func (c *keysCreate) Run(ctx context.Context, t terminal) error {
	asked := gateway.NewAPIKey{Name: c.Name, Owner: &c.Owner, Scopes: c.Scopes}
	if c.Valid > 0 {
		expires := time.Now().Add(c.Valid.duration()).UTC()
		asked.Expires = &expires
	}
	return t.withKeys(func(keys *gateway.APIKeys) error {
		made, text, err := keys.Create(ctx, asked)
		if err != nil {
			return explained(err)
		}
		fmt.Fprintf(t.errs, "key %s of %s; it is printed only once\n", made.ID, made.Owner)
		fmt.Fprintln(t.out, text)
		return nil
	})
}

// explained adds the violated rules to the error of a key's creation.
func explained(err error) error {
	var broken []string
	for _, v := range fault.As(err).Violations {
		broken = append(broken, strings.TrimPrefix(v.Pointer, "/")+" "+v.Detail)
	}
	if len(broken) == 0 {
		return err
	}
	return errors.New("keys create: " + strings.Join(broken, "; "))
}

type keysList struct {
	Owner string `help:"list only keys of this owner"`
}

// Run lists keys.
func (c *keysList) Run(ctx context.Context, t terminal) error {
	return t.withKeys(func(keys *gateway.APIKeys) error {
		all, err := keys.List(ctx, c.Owner)
		if err != nil {
			return err
		}
		table := t.table()
		fmt.Fprintln(table, "ID\tSTATE\tCREATED\tUSED\tSCOPES\tOWNER\tNAME")
		for _, k := range all {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%q\t%q\n", k.ID, keyState(k, time.Now()), k.Created.UTC().Format(time.DateOnly),
				keyDate(k.LastUsed), scopeList(k.Scopes), k.Owner, k.Name)
		}
		fmt.Fprintf(table, "%d keys\n", len(all))
		return table.Flush()
	})
}

func keyState(k gateway.APIKey, now time.Time) string {
	switch {
	case k.Revoked != nil:
		return "revoked"
	case k.Expires != nil && !now.Before(*k.Expires):
		return "expired"
	default:
		return "valid"
	}
}

func keyDate(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return at.UTC().Format(time.DateOnly)
}

func scopeList(scopes []principal.Scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return strings.Join(names, ",")
}

type keysRevoke struct {
	IDs []string `arg:"" name:"id" help:"the ids of the keys"`
}

// Run revokes keys.
func (c *keysRevoke) Run(ctx context.Context, t terminal) error {
	return t.withKeys(func(keys *gateway.APIKeys) error {
		var failed []error
		for _, id := range c.IDs {
			if err := keys.Revoke(ctx, id); err != nil {
				failed = append(failed, fmt.Errorf("revoke %s: %s", id, said(err)))
				continue
			}
			fmt.Fprintf(t.out, "%s  revoked\n", id)
		}
		return errors.Join(failed...)
	})
}
