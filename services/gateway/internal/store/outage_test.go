package store_test

import (
	"context"
	"testing"
	"time"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/audit"
	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/store"
	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/postgres"
	"sori.internal/shared/testkit"
)

// operations returns the operations of a store by name.
func operations(ctx context.Context, s *store.Store) map[string]func() error {
	page := catalogue.Page{Limit: 10}
	claim := upload.Claim{Token: 1, Job: "01234567-89ab-7def-8123-456789abcdef", Holder: "01234567-89ab-7def-8123-456789abcdee", SHA256: sum}
	two := func(_ any, err error) error { return err }
	return map[string]func() error{
		"create a token": func() error { return two(s.CreateToken(ctx, catalogue.Token{Name: "a", Actor: "b", End: 1})) },
		"read a token":   func() error { return two(s.Token(ctx, 1)) },
		"list tokens":    func() error { return two(s.Tokens(ctx, catalogue.Filter{}, page)) },
		"replace a token": func() error {
			return two(s.ReplaceToken(ctx, catalogue.Token{ID: 1, Name: "a", Actor: "b", End: 1}, nil))
		},
		"delete a token":         func() error { return s.DeleteToken(ctx, 1, nil) },
		"find references":        func() error { return two(s.References(ctx, 1)) },
		"list references":        func() error { return two(s.TokensWithReferences(ctx, 0, 10)) },
		"create a script":        func() error { return two(s.CreateScript(ctx, catalogue.Script{Token: 1, End: 1, Text: "a"})) },
		"read a script":          func() error { return two(s.Script(ctx, 1)) },
		"list scripts":           func() error { return two(s.Scripts(ctx, page)) },
		"list a token's scripts": func() error { return two(s.TokenScripts(ctx, 1, page)) },
		"replace a script": func() error {
			return two(s.ReplaceScript(ctx, catalogue.Script{ID: 1, Token: 1, End: 1, Text: "a"}, nil))
		},
		"delete a script":        func() error { return s.DeleteScript(ctx, 1, nil) },
		"create an actor":        func() error { return two(s.CreateActor(ctx, catalogue.Actor{Name: "a"})) },
		"read an actor":          func() error { return two(s.Actor(ctx, 1)) },
		"list actors":            func() error { return two(s.Actors(ctx, "", page)) },
		"list an actor's tokens": func() error { return two(s.ActorTokens(ctx, 1, page)) },
		"replace an actor":       func() error { return two(s.ReplaceActor(ctx, catalogue.Actor{ID: 1, Name: "a"}, nil)) },
		"delete an actor":        func() error { return s.DeleteActor(ctx, 1, nil) },
		"create a key":           func() error { return two(s.CreateAPIKey(ctx, access.StoredKey{Key: access.Key{ID: "a", Owner: "b"}})) },
		"read a key":             func() error { return two(s.APIKey(ctx, "a")) },
		"list keys":              func() error { return two(s.APIKeys(ctx, "", page)) },
		"revoke a key":           func() error { return s.RevokeAPIKey(ctx, "a", "") },
		"mark a key":             func() error { return s.MarkAPIKeyUsed(ctx, "a") },
		"claim":                  func() error { return two(s.Claim(ctx, claim, time.Hour, time.Hour)) },
		"renew a claim":          func() error { return s.Renew(ctx, claim, time.Hour) },
		"finish a claim":         func() error { return s.Finish(ctx, claim, time.Hour) },
		"free a claim":           func() error { return s.Free(ctx, claim) },
		"delete claims":          func() error { return two(s.DeleteExpiredKeys(ctx)) },
		"write the audit log":    func() error { return s.AppendAudit(ctx, []audit.Entry{{Owner: "a"}}) },
		"read the audit log":     func() error { return two(s.Audit(ctx, audit.Filter{}, 10)) },
		"delete the audit log":   func() error { return two(s.DeleteAudit(ctx, time.Now())) },
		"read the outbox":        func() error { return two(s.Pending(ctx, 10)) },
		"empty the outbox":       func() error { return s.MarkPublished(ctx, 1) },
	}
}

// A 404 or 409 would say something about an entry that nobody has read, and clients do not repeat
// such requests.
func TestWhileTheDatabaseIsUnavailableEveryOperationSaysSo(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	proxy := k.Proxy(k.MigratedDatabase())
	var cfg postgres.Config
	k.Load(&cfg)
	cfg.URL = config.Secret(proxy.URL)
	db, err := postgres.Open(cfg, store.Schema)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	s := store.New(db)
	must(t, s.Migrate(k.Context()))
	proxy.Cut()
	for name, do := range operations(k.Context(), s) {
		if err := do(); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	proxy.Restore()
	ended, cancel := context.WithCancel(k.Context())
	cancel()
	for name, do := range operations(ended, s) {
		if err := do(); err == nil || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) || fault.Is(err, fault.Invalid) {
			t.Errorf("%s, interrupted: %v", name, err)
		}
	}
}

func TestAKeyThatDoesNotExistIsNotFound(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	if _, err := c.stores[0].APIKey(c.Context(), "none"); !fault.Is(err, fault.NotFound) {
		t.Errorf("read: %v", err)
	}
	if err := c.stores[0].RevokeAPIKey(c.Context(), "none", ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("revoked: %v", err)
	}
	must(t, c.stores[0].MarkAPIKeyUsed(c.Context(), "none"))
}
