package loadgen

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestAClientSeesThatBytesAreLost uses a server that answers with offsets that Sori never sends. An
// offset below the last one, or beyond the end of the upload, must be a violation.
func TestAClientSeesThatBytesAreLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		offset     string
		violations int
	}{
		"the offset that was told": {"6", 0},
		"more has arrived":         {"8", 0},
		"bytes are lost":           {"5", 1},
		"more than there is":       {"11", 1},
		"no offset":                {"", 1},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.offset != "" {
				w.Header().Set("Upload-Offset", c.offset)
			}
		}))
		clients := NewClients(ClientOptions{Gateways: []string{server.URL}})
		u := (&session{clients: clients}).resume(tus(), "http://127.0.0.1/uploads/7", make([]byte, 10))
		u.told = 6
		if ok, n := u.ask(t.Context()), len(clients.Ledger().Violations(Durable)); n != c.violations || ok != (n == 0) {
			t.Errorf("%s: %v, %d violations", name, ok, n)
		}
		clients.Close()
		server.Close()
	}
}
