// Package access decides who makes a request, from the credentials in its header. Everything is
// denied that is not proven.
//
// It guarantees:
//
//  1. A token (RFC 7519) counts only if its signature is right by a key that the operator has
//     configured, its algorithm is one of a fixed list, and it names a subject and is within its time.
//     A token of an OpenID provider must also name the issuer and the audience. The header of a token
//     chooses among the known keys and brings none of its own: jku, x5u, x5c and jwk are ignored.
//  2. An API key counts only while the store knows it: a revoked one at most five seconds longer.
//  3. If keys cannot be checked, since the provider or the store is away, the request is refused
//     as one that may be repeated.
//  4. No failure tells a part of a credential, neither to the client nor to the log.
package access

import (
	"context"
	"strings"
	"time"

	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// What a route may need instead of a scope.
const (
	// Public routes are answered to everybody. Credentials are not looked at.
	Public principal.Scope = "public"

	// Keys is what the routes of API keys need: a token, or a key that has the scope admin. Another
	// key may not make or revoke keys, so that one that was stolen cannot outlive its revocation.
	Keys principal.Scope = "keys"
)

// HasNone reports whether a request brings no credentials.
func (c Credentials) HasNone() bool { return len(c.Authorization)+len(c.APIKey) == 0 }

// Needs are all values that a route may have in the place of its scope.
func Needs() []principal.Scope { return append(principal.Scopes(), Public, Keys) }

// Credentials are the lines of the headers by which a request proves its sender.
type Credentials struct {
	Authorization []string
	APIKey        []string // X-API-Key
}

// Authenticator finds the principal of a request. It is safe for concurrent use.
type Authenticator struct {
	open   bool
	tokens *tokens
	keys   *keyCache
}

// Dependencies are what an Authenticator works with.
type Dependencies struct {
	Keys   KeyStore
	Issuer IssuerKeys // nil if there is no OpenID provider
	Now    func() time.Time
}

// New makes an Authenticator.
func New(cfg Config, d Dependencies) *Authenticator {
	return &Authenticator{open: !cfg.Enabled(), tokens: newTokens(cfg, d), keys: newKeyCache(d.Keys, d.Now)}
}

// Open reports whether every request is answered, whoever sends it.
func (a *Authenticator) Open() bool { return a.open }

// Authenticate returns the principal that the credentials prove.
func (a *Authenticator) Authenticate(ctx context.Context, c Credentials) (principal.Principal, error) {
	if a.open {
		return principal.Open(), nil
	}
	credential, err := c.single()
	if err != nil {
		return principal.Principal{}, err
	}
	if strings.HasPrefix(credential, keyPrefix) {
		return a.keys.principal(ctx, credential)
	}
	return a.tokens.principal(ctx, credential)
}

// Authorize returns a failure if a principal may not use a route.
func Authorize(p principal.Principal, needs principal.Scope) error {
	switch {
	case needs == Public, needs != Keys && p.May(needs):
		return nil
	case needs == Keys && (p.KeyID == "" || p.May(principal.Admin)):
		return nil
	case needs == Keys:
		needs = principal.Admin
	}
	return &fault.Error{
		Kind: fault.Forbidden, Code: CodeScope, Extra: map[string]any{"scope": string(needs)},
		Detail: "These credentials lack the scope " + string(needs) + ".",
	}
}

// Forget makes this replica ask the store again for an API key, at once.
func (a *Authenticator) Forget(keyID string) { a.keys.forget(keyID) }

// The codes of the failures.
const (
	CodeMissing     = "unauthenticated"
	CodeInvalid     = "invalid-token"
	CodeScope       = "insufficient-scope"
	CodeUnavailable = "identity-provider-unavailable"
	CodeAmbiguous   = "malformed-request"
)

// single returns the only credential of a request.
func (c Credentials) single() (string, error) {
	switch {
	case len(c.Authorization)+len(c.APIKey) > 1:
		return "", fault.New(fault.Malformed, "malformed-request", "The request has more than one Authorization or X-API-Key header.")
	case len(c.APIKey) == 1:
		if !strings.HasPrefix(c.APIKey[0], keyPrefix) {
			return "", errKey()
		}
		return c.APIKey[0], nil
	case len(c.Authorization) == 0:
		return "", fault.New(fault.Unauthenticated, "unauthenticated",
			"Send a token or an API key in the header Authorization: Bearer.")
	}
	scheme, credential, _ := strings.Cut(c.Authorization[0], " ")
	credential = strings.TrimSpace(credential)
	if !strings.EqualFold(scheme, "Bearer") || credential == "" {
		return "", invalid("The header Authorization must be the word Bearer and a token or an API key.")
	}
	return credential, nil
}

// invalid is the failure of a credential that does not count. The detail is one of a few sentences.
func invalid(detail string) error { return fault.New(fault.Unauthenticated, CodeInvalid, detail) }

// Unavailable is the failure to check a token while the provider's keys cannot be had.
func Unavailable(cause error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "identity-provider-unavailable", RetryAfter: 5 * time.Second,
		Detail: "The identity provider cannot be reached right now. Please try again.", Err: cause,
	}
}
