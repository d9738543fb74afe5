// Package access authenticates requests by the credentials in their headers, and authorizes them. A
// request is denied unless its credentials are valid.
//
// It guarantees:
//
//  1. A token (RFC 7519) is accepted only if its signature is valid for AUTH_JWT_SECRET or for a
//     key of the configured OpenID provider, its algorithm is one of a fixed list, it has a
//     subject, and it is valid at this time. A token of an OpenID provider must also name the
//     configured issuer and audience. The header of a token can choose among the known keys, but it
//     cannot add a key: jku, x5u, x5c and jwk are ignored.
//  2. An API key is accepted only while the store has it and it is not revoked. A replica may
//     accept a revoked key for at most five seconds more.
//  3. If a credential cannot be checked because the provider or the store is unavailable, the
//     request fails with a retryable failure.
//  4. No failure contains a part of a credential, neither in the response nor in the log.
//  5. Decide never causes a lookup, in the store or at the provider, that anybody could cause with
//     an invented credential. It fails with ErrUndecided instead.
package access

import (
	"context"
	"errors"
	"strings"
	"time"

	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// A route can have one of these values instead of a scope.
const (
	// Public is for routes that need no credentials. Credentials in a request are ignored.
	Public principal.Scope = "public"

	// Keys is for the routes of API keys. A request needs a token, or an API key with the scope
	// admin. Other API keys cannot make keys: otherwise a stolen key could make a second key that
	// stays valid when the first is revoked.
	Keys principal.Scope = "keys"

	// Authenticated is for routes that any valid credential may use.
	Authenticated principal.Scope = "authenticated"
)

// HasNone reports whether a request has no credentials.
func (c Credentials) HasNone() bool { return len(c.Authorization)+len(c.APIKey) == 0 }

// Needs returns all values that a route can require: the scopes, Public, Keys and Authenticated.
func Needs() []principal.Scope { return append(principal.Scopes(), Public, Keys, Authenticated) }

// Credentials has the values of the headers that authenticate a request.
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

// Dependencies has the dependencies of an Authenticator.
type Dependencies struct {
	Keys   KeyStore
	Issuer IssuerKeys // nil if there is no OpenID provider
	Now    func() time.Time
}

// New makes an Authenticator.
func New(cfg Config, d Dependencies) *Authenticator {
	return &Authenticator{open: !cfg.Enabled(), tokens: newTokens(cfg, d), keys: newKeyCache(d.Keys, d.Now)}
}

// Open reports whether authentication is disabled, so that every request is allowed.
func (a *Authenticator) Open() bool { return a.open }

// Authenticate returns the principal of a request with these credentials. It fails with
// fault.Unauthenticated if there are none or they are not valid, with fault.Malformed if there are
// several, and with fault.Unavailable if they cannot be checked.
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

// ErrUndecided means that Decide would have to ask the store or the provider.
var ErrUndecided = errors.New("the credentials have to be looked up")

// Decide is Authenticate for requests whose sender is not limited yet. It fails with ErrUndecided if
// the API key is new to this replica, or if the OpenID provider must be asked for the key of a
// token. A key that this replica has found before is read again once it is older than the cache
// allows: a sender can cause that at most every five seconds for each key.
func (a *Authenticator) Decide(ctx context.Context, c Credentials) (principal.Principal, error) {
	if credential, err := c.single(); err == nil && !a.open && !a.knows(credential) {
		return principal.Principal{}, ErrUndecided
	}
	return a.Authenticate(ctx, c)
}

// knows reports whether a credential can be checked without a lookup that Decide must not cause.
func (a *Authenticator) knows(credential string) bool {
	if strings.HasPrefix(credential, keyPrefix) {
		return a.keys.knows(credential)
	}
	return a.tokens.knows(credential)
}

// Authorize fails with fault.Forbidden if a principal may not use a route that needs this value.
func Authorize(p principal.Principal, needs principal.Scope) error {
	switch {
	case needs == Public, needs == Authenticated, needs != Keys && p.May(needs):
		return nil
	case needs == Keys && (p.KeyID == "" || p.May(principal.Admin)):
		return nil
	case needs == Keys:
		needs = principal.Admin
	}
	return fault.InsufficientScope(string(needs))
}

// Forget removes an API key from the cache of this replica. The next request reads the key from the
// store.
func (a *Authenticator) Forget(keyID string) { a.keys.forget(keyID) }

// The codes of the failures whose response has the header WWW-Authenticate.
const (
	CodeMissing   = "unauthenticated"
	CodeInvalid   = "invalid-token"
	CodeScope     = "insufficient-scope"
	CodeAmbiguous = "malformed-request"
)

// single returns the credential of a request. It fails if there is none, or more than one.
func (c Credentials) single() (string, error) {
	switch {
	case len(c.Authorization)+len(c.APIKey) > 1:
		return "", fault.MalformedRequest("The request has more than one Authorization or X-API-Key header.", nil)
	case len(c.APIKey) == 1:
		if !strings.HasPrefix(c.APIKey[0], keyPrefix) {
			return "", errKey()
		}
		return c.APIKey[0], nil
	case len(c.Authorization) == 0:
		return "", fault.New(fault.Unauthenticated, CodeMissing,
			"Send a token or an API key in the header Authorization: Bearer.")
	}
	scheme, credential, _ := strings.Cut(c.Authorization[0], " ")
	credential = strings.TrimSpace(credential)
	if !strings.EqualFold(scheme, "Bearer") || credential == "" {
		return "", invalid("The header Authorization must be the word Bearer and a token or an API key.")
	}
	return credential, nil
}

// invalid returns the failure of a credential that is not accepted. The detail must be a constant,
// so that it contains no part of the credential.
func invalid(detail string) error { return fault.New(fault.Unauthenticated, CodeInvalid, detail) }

// Unavailable returns the failure of a request whose token cannot be checked, since the provider's
// keys cannot be fetched.
func Unavailable(cause error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "identity-provider-unavailable", RetryAfter: 5 * time.Second,
		Detail: "The identity provider cannot be reached right now. Please try again.", Err: cause,
	}
}
