// Package principal describes who makes a request, and what they may do.
//
// The gateway authenticates a request and forwards its Principal to the services behind it, in a
// header that it signs (Signer). Those services trust only this header (Verifier): they never see
// the credentials of a client.
package principal

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Scope is a permission. A route of the API needs exactly one.
type Scope string

// The scopes.
const (
	JobsRead       Scope = "jobs:read"       // read one's own jobs, their results and their audio
	JobsWrite      Scope = "jobs:write"      // upload; cancel, retry and delete one's own jobs
	CatalogueRead  Scope = "catalogue:read"  // read tokens, scripts and actors
	CatalogueWrite Scope = "catalogue:write" // change tokens, scripts and actors
	Admin          Scope = "admin"           // everything, including the jobs of all owners and all API keys
)

// Scopes returns all scopes.
func Scopes() []Scope {
	return []Scope{JobsRead, JobsWrite, CatalogueRead, CatalogueWrite, Admin}
}

// UserScopes returns the scopes of the role user: their own jobs, and reading the catalogue.
func UserScopes() []Scope { return []Scope{JobsRead, JobsWrite, CatalogueRead} }

// MaxOwner is the length of the longest owner, in bytes: that of a subject in OpenID Connect
// (OpenID Connect Core 1.0, section 2).
const MaxOwner = 255

// ValidOwner reports whether a text can be the owner of a job: one to MaxOwner bytes of UTF-8
// without control characters. Every such text can be stored in a database and sent in a header. The
// replacement character U+FFFD is not allowed: JSON decoders replace invalid UTF-8 with it, so that
// several subjects would become the same owner.
func ValidOwner(owner string) bool {
	return owner != "" && len(owner) <= MaxOwner && utf8.ValidString(owner) && !strings.ContainsRune(owner, utf8.RuneError) &&
		!strings.ContainsFunc(owner, unicode.IsControl)
}

// Principal describes who makes a request, and what they may do.
type Principal struct {
	// Owner owns the jobs that the principal makes. It is the subject of an access token, or the
	// owner of an API key. It is empty if the instance is open (AUTH_DISABLED).
	Owner  string
	Scopes []Scope
	KeyID  string // id of the API key; empty for an access token

	// Expires is the time from which the gateway no longer accepts the credentials of the request. The
	// zero time means never. A stream that is open at that time ends soon after.
	Expires time.Time
}

// Open returns the principal of every request to an instance without authentication.
func Open() Principal { return Principal{Scopes: []Scope{Admin}} }

// May reports whether the principal has a scope. The scope Admin includes all others.
func (p Principal) May(s Scope) bool {
	return slices.Contains(p.Scopes, s) || slices.Contains(p.Scopes, Admin)
}

// Sees reports whether the principal may know of a job with the given owner. Jobs without an owner
// are visible to admins only.
func (p Principal) Sees(owner string) bool {
	return p.May(Admin) || owner != "" && owner == p.Owner
}

// By returns the name of the principal in events: the id of the API key, otherwise the owner. It is
// empty on an instance without authentication.
func (p Principal) By() string { return cmp.Or(p.KeyID, p.Owner) }

// Expired reports whether the authentication of the request is no longer valid.
func (p Principal) Expired(now time.Time) bool {
	return !p.Expires.IsZero() && now.After(p.Expires.Add(clockSkew))
}

type contextKey struct{}

// With returns a context that carries the principal of a request.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// From returns the principal of a request. If the context has none, it returns the zero Principal,
// which may do nothing.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(contextKey{}).(Principal)
	return p
}
