package access

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

const (
	maxKeyName = 255  // the length of the longest name of a key, in bytes
	lastYear   = 9999 // the latest year of an expiry: RFC 3339 has no later one, so that a list with such a key could not be encoded as JSON
)

// KeyRequest is a request for a key.
type KeyRequest struct {
	Name    string     `json:"name"`
	Scopes  []string   `json:"scopes"`
	Expires *time.Time `json:"expires_at"` // nil: never
	Owner   *string    `json:"owner"`      // nil: the principal that sends the request
}

// DecodeKey decodes the body of a request for a key. It fails with fault.Malformed if the body is
// not JSON, and otherwise in the cases of KeyRequest.Key. The parameter by is the principal that
// sends the request.
func DecodeKey(body []byte, by principal.Principal, now time.Time) (Key, error) {
	var r KeyRequest
	if err := json.Unmarshal(body, &r); err != nil || !utf8.Valid(body) {
		return Key{}, fault.New(fault.Malformed, "malformed-json", "The body is no API key in JSON: name, scopes, expires_at and owner.")
	}
	return r.Key(by, now)
}

// Key returns the requested key, without an id. The parameter by is the principal that sends the
// request. Key fails with fault.Invalid if the request breaks a rule, and with fault.Forbidden if
// the key would have rights that the principal lacks.
func (r KeyRequest) Key(by principal.Principal, now time.Time) (Key, error) {
	var broken []fault.Violation
	refuse := func(pointer, detail string) {
		broken = append(broken, fault.Violation{Pointer: pointer, Detail: detail})
	}
	k := Key{Name: strings.TrimSpace(r.Name), Owner: by.Owner}
	if k.Name == "" || len(k.Name) > maxKeyName || strings.ContainsFunc(k.Name, unicode.IsControl) {
		refuse("/name", "must be text of 1 to 255 bytes without control characters")
	}
	if r.Expires != nil {
		at := r.Expires.UTC() // Postgres rejects some offsets that RFC 3339 allows
		if k.Expires = &at; !at.After(now) || at.Year() > lastYear {
			refuse("/expires_at", "must be in the future, and before the year 10000")
		}
	}
	if len(r.Scopes) == 0 {
		refuse("/scopes", "must name at least one scope")
	}
	for _, text := range r.Scopes {
		scope := principal.Scope(text)
		switch {
		case !slices.Contains(principal.Scopes(), scope):
			refuse("/scopes", "must be among jobs:read, jobs:write, catalogue:read, catalogue:write, admin")
		case !slices.Contains(k.Scopes, scope):
			k.Scopes = append(k.Scopes, scope)
		}
	}
	if r.Owner != nil {
		k.Owner = *r.Owner
	}
	if !principal.ValidOwner(k.Owner) {
		refuse("/owner", "must be text of 1 to 255 bytes without control characters")
	}
	if len(broken) > 0 {
		return Key{}, fault.ValidationFailed(broken...)
	}
	return k, mayGive(by, k)
}

// mayGive returns a failure if a principal requests a scope that it lacks, or if a principal that
// is no admin requests a key of another owner.
func mayGive(by principal.Principal, k Key) error {
	if k.Owner != by.Owner {
		if err := Authorize(by, principal.Admin); err != nil {
			return err
		}
	}
	for _, scope := range k.Scopes {
		if err := Authorize(by, scope); err != nil {
			return err
		}
	}
	return nil
}
