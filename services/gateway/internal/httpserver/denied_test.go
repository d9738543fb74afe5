package httpserver_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/audit"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/services/gateway/internal/ratelimit"
	"sori.internal/shared/principal"
)

// Each denied request of a principal is an entry of the audit log. A client with many addresses is not
// limited by these.
func TestDeniedRequestsCountForTheirPrincipalAndAreRecordedWithinItsLimit(t *testing.T) {
	t.Parallel()
	const limit = 3
	var recorded atomic.Int64
	e := start(t, func(s *httpserver.Server) {
		s.Limits.Principal = ratelimit.NewSet("").NewRate("principal", "requests", limit, time.Hour)
		s.Audit = func(audit.Entry) { recorded.Add(1) }
	})
	stored, key := access.NewKey(access.Key{Owner: "alice", Scopes: []principal.Scope{principal.CatalogueRead}})
	e.lookups.keys[stored.ID] = stored
	for i := range 3 * limit {
		r, text := e.post(fmt.Sprintf("203.0.113.%d", i), "Bearer "+key, nil, http.Header{})
		want, code := http.StatusForbidden, "insufficient-scope"
		if i >= limit {
			want, code = http.StatusTooManyRequests, "rate-limited"
		}
		if r.StatusCode != want || !strings.Contains(text, code) {
			t.Errorf("request %d: %s %s", i, r.Status, text)
		}
	}
	if r, text := e.post("198.51.100.1", "Bearer "+e.key, strings.NewReader("body"), http.Header{}); r.StatusCode != http.StatusTooManyRequests {
		t.Errorf("another key of the same owner: %s %s", r.Status, text)
	}
	if n := recorded.Load(); n != limit {
		t.Errorf("%d entries in the audit log, want %d", n, limit)
	}
}
