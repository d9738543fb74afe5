package api

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"sori.internal/shared/principal"
)

// meBody is the sender of a request, with the permissions of the sender.
type meBody struct {
	Owner   string            `json:"owner"`      // empty if requests are not authenticated
	Scopes  []principal.Scope `json:"scopes"`     // the scope admin includes all other scopes
	APIKey  *string           `json:"api_key"`    // id of the API key, or null for a token
	Expires *time.Time        `json:"expires_at"` // expiry of the credential, or null
}

// sendMe answers with the principal of the request.
func sendMe(c *fiber.Ctx) error {
	p := principal.From(c.UserContext())
	body := meBody{Owner: p.Owner, Scopes: append([]principal.Scope{}, p.Scopes...)} // a new slice, so that no scopes are [] in JSON, not null
	if p.KeyID != "" {
		body.APIKey = &p.KeyID
	}
	if !p.Expires.IsZero() {
		body.Expires = utc(&p.Expires)
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(body)
}
