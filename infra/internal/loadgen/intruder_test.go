package loadgen

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

const intruded = "01a22709-ce4b-7c6a-bb5b-6c14dc26c720"

// TestAnIntruderSeesWhatItMustNotSee uses a server that treats all owners alike, which Sori never does.
// Every answer that reveals the job must be a violation.
func TestAnIntruderSeesWhatItMustNotSee(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status     int
		list       string
		violations int
	}{
		"404 for all, and an empty list":       {http.StatusNotFound, `{"jobs": []}`, 0},
		"another's job is answered and listed": {http.StatusOK, `{"jobs": [{"job_id": "` + intruded + `"}]}`, 7},
		"a refusal tells that the job exists":  {http.StatusConflict, `{"jobs": []}`, 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer second" {
					t.Errorf("%s %s as %q", r.Method, r.URL, r.Header.Get("Authorization"))
				}
				if r.URL.Path == "/jobs/" {
					_, _ = w.Write([]byte(c.list))
					return
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(`{}`))
			}))
			t.Cleanup(server.Close)
			clients := NewClients(ClientOptions{Gateways: []string{server.URL}, Credentials: []string{"first", "second"}})
			(&session{clients: clients, job: intruded}).intrude(t.Context())
			clients.Close()
			if found := clients.Ledger().Violations(Owners); len(found) != c.violations {
				t.Errorf("%d violations, not %d: %q", len(found), c.violations, found)
			}
		})
	}
}
