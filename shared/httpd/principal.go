package httpd

import (
	"net/http"
	"strings"

	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// Authenticate returns the principal that the gateway has signed for a request. Without a valid
// principal it fails with fault.Unauthenticated, and sets WWW-Authenticate, which describes how to
// authenticate (RFC 9110, section 11.6.1). The gateway sends the header principal.Header once;
// Authenticate rejects a request that has the header several times.
func Authenticate(w http.ResponseWriter, r *http.Request, v principal.Verifier) (principal.Principal, error) {
	p, err := v.Verify(strings.Join(r.Header.Values(principal.Header), ","))
	if err != nil {
		Challenge(w)
		return principal.Principal{}, fault.Wrap(fault.Unauthenticated, "unauthenticated", "The request does not say who makes it.", err)
	}
	return p, nil
}

// Authorize is like Authenticate, and fails with fault.Forbidden if the principal lacks a scope.
func Authorize(w http.ResponseWriter, r *http.Request, v principal.Verifier, scope principal.Scope) (principal.Principal, error) {
	p, err := Authenticate(w, r, v)
	if err == nil && !p.May(scope) {
		err = fault.InsufficientScope(string(scope))
	}
	return p, err
}

// CacheHit is the value of the header Cache-Status for a cached result (RFC 9211).
const CacheHit = "sori; hit"

// Challenge sets WWW-Authenticate on the response to a request without valid credentials.
func Challenge(w http.ResponseWriter) { w.Header().Set("WWW-Authenticate", `Bearer realm="sori"`) }
