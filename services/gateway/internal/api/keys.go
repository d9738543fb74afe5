package api

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/shared/logging"
	"sori.internal/shared/principal"
)

// KeyStore stores API keys.
type KeyStore interface {
	CreateAPIKey(ctx context.Context, k access.StoredKey) (access.Key, error)

	// In APIKeys and RevokeAPIKey, an empty owner means all owners.
	APIKeys(ctx context.Context, owner string, p catalogue.Page) (catalogue.List[access.Key], error)
	RevokeAPIKey(ctx context.Context, id, owner string) error
}

// keyBody is an API key as clients see it.
type keyBody struct {
	ID       string            `json:"id"`
	Owner    string            `json:"owner"`
	Name     string            `json:"name"`
	Scopes   []principal.Scope `json:"scopes"`
	Created  time.Time         `json:"created_at"`
	Expires  *time.Time        `json:"expires_at"`
	LastUsed *time.Time        `json:"last_used_at"`
	Revoked  *time.Time        `json:"revoked_at"`
}

func keyBodyOf(k access.Key) keyBody {
	return keyBody{
		ID: k.ID, Owner: k.Owner, Name: k.Name, Scopes: k.Scopes, Created: k.Created.UTC(),
		Expires: utc(k.Expires), LastUsed: utc(k.LastUsed), Revoked: utc(k.Revoked),
	}
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// newKeyBody is the answer to the creation of a key. No other answer contains the key's text.
type newKeyBody struct {
	keyBody
	Key string `json:"key"`
}

// apiKeys has the routes of API keys. A principal manages its own keys, an admin the keys of all
// owners.
type apiKeys struct {
	store    KeyStore
	timeouts httpserver.BodyLimits
	forget   func(id string) // removes a key from the cache of this replica
}

func (h apiKeys) create(c *fiber.Ctx) error {
	text, err := jsonBody(c, h.timeouts)
	if err != nil {
		return err
	}
	asked, err := access.DecodeKey(text, principal.From(c.UserContext()), time.Now())
	if err != nil {
		return err
	}
	stored, secret := access.NewKey(asked)
	made, err := h.store.CreateAPIKey(c.UserContext(), stored)
	if err != nil {
		return err
	}
	httpserver.Made(c, "/api-keys/"+made.ID)
	logKey(c, made.ID, "api key created")
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Status(fiber.StatusCreated).JSON(newKeyBody{keyBody: keyBodyOf(made), Key: secret})
}

// list lists the keys of the principal. For an admin, it lists the keys of all owners, or of the
// owner in ?owner=.
func (h apiKeys) list(c *fiber.Ctx) error {
	q := newParams(c)
	owner := q.Get("owner")
	if owner != "" && !principal.ValidOwner(owner) {
		q.Refuse("owner", "must be text of 1 to 255 bytes without control characters")
	}
	if p := principal.From(c.UserContext()); !p.May(principal.Admin) {
		owner = p.Owner
	}
	return list(q, func(ctx context.Context, p catalogue.Page) (catalogue.List[access.Key], error) {
		return h.store.APIKeys(ctx, owner, p)
	}, keyBodyOf)
}

func (h apiKeys) revoke(c *fiber.Ctx) error {
	id, owner := c.Params("id"), ""
	if !access.ValidKeyID(id) {
		return access.KeyNotFound()
	}
	if p := principal.From(c.UserContext()); !p.May(principal.Admin) {
		owner = p.Owner
	}
	if err := h.store.RevokeAPIKey(c.UserContext(), id, owner); err != nil {
		return err
	}
	h.forget(id)
	logKey(c, id, "api key revoked")
	c.Status(fiber.StatusNoContent)
	return nil
}

// logKey logs that a principal created or revoked a key.
func logKey(c *fiber.Ctx, id, done string) {
	zerolog.Ctx(c.UserContext()).Info().Str(logging.KeyID, id).Str(logging.Owner, principal.From(c.UserContext()).Owner).Msg(done)
}
