package app_test

import (
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"

	"sori.internal/services/gateway/app"
	"sori.internal/shared/config"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
)

// auditLog returns the entries of the audit log.
func (g *env) auditLog(f app.AuditFilter) []app.AuditEntry {
	g.t.Helper()
	log, err := app.OpenAuditLog(postgres.Config{URL: config.Secret(g.kit.Database()), MaxConnections: 2})
	if err != nil {
		g.t.Fatal(err)
	}
	defer log.Close()
	entries, err := log.List(g.kit.Context(), f, 100)
	if err != nil {
		g.t.Fatal(err)
	}
	return entries
}

func TestTheAuditLogHasWhatPrincipalsChangedAndWereDenied(t *testing.T) {
	t.Parallel()
	job := "/jobs/01890a5d-ac96-774b-bcce-b302099a8057"
	g := secured(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(stubHeader, "1")
		w.WriteHeader(http.StatusNotFound) // the tracker answers like this for a job of another owner
		_, _ = io.Copy(io.Discard, r.Body)
	}, nil)
	admin, user := as(adminToken(t)), as(token(t, "alice", nil))
	key, keyID := g.keyWith(principal.CatalogueRead)
	body := `{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`
	made := g.do("POST", "/tokens/", strings.NewReader(body), admin)
	var want []string
	add := func(owner, keyID, action, object string, status int) {
		want = append(want, fmt.Sprint(owner, " ", keyID, " ", action, " ", object, " ", status))
	}
	add("root", "", "POST /api-keys", "/api-keys/"+keyID, 201)
	add("root", "", "POST /tokens", made.Header.Get("Location"), 201)
	for _, denied := range []map[string]string{user, as(key)} {
		g.do("DELETE", made.Header.Get("Location"), nil, denied)
	}
	add("alice", "", "DELETE /tokens/:id", made.Header.Get("Location"), 403)
	add("alice", keyID, "DELETE /tokens/:id", made.Header.Get("Location"), 403)
	g.do("GET", "/jobs", nil, as(key))
	add("alice", keyID, "GET /jobs", "/jobs", 403)
	upload := g.do("POST", made.Header.Get("Location")+"/upload-audio", strings.NewReader("no form"), user)
	add("alice", "", "POST /tokens/:token_id/upload-audio", made.Header.Get("Location")+"/upload-audio", upload.StatusCode)
	g.do("POST", job+"/cancel?reason=secret", nil, user)
	add("alice", "", "POST /jobs/:job_id/cancel", job+"/cancel", 404)
	g.problem(g.do("DELETE", "/api-keys/"+key, nil, user), http.StatusNotFound, "api-key-not-found") // the text of the key instead of its id
	add("alice", "", "DELETE /api-keys/:id", "/api-keys/sori_"+keyID+"_*", 404)
	g.do("POST", "/tokens/"+strings.Repeat("a", 15_000)+"/analyze", nil, user) // the audit log records only the beginning of a long path
	add("alice", "", "POST /tokens/:token_id/analyze", "/tokens/"+strings.Repeat("a", 504)+"…", 422)
	g.do("GET", "/jobs/"+key+"/audio", nil, nil)
	g.do("GET", "/s3/params?filename=a.wav&metadata[token_id]="+path.Base(made.Header.Get("Location")), nil, user) // begins an upload
	add("alice", "", "GET /s3/params", "/s3/params", 503)
	removed := g.do("DELETE", made.Header.Get("Location"), nil, admin)
	add("root", "", "DELETE /tokens/:id", made.Header.Get("Location"), 200)
	g.do("DELETE", "/api-keys/"+keyID, nil, admin)
	add("root", "", "DELETE /api-keys/:id", "/api-keys/"+keyID, 204)

	// Requests that only read, and requests without a principal, are not in the audit log.
	g.do("GET", "/tokens", nil, user)
	g.do("DELETE", "/tokens/1", nil, nil)
	g.do("DELETE", "/tokens/1", nil, as("nonsense"))

	if err := g.stop(); err != nil { // the stop writes the entries that are still queued
		t.Error(err)
	}
	if strings.Contains(g.kit.Logged(), key) {
		t.Error("the log has a key that was in a path")
	}
	var got []string
	for _, e := range g.auditLog(app.AuditFilter{}) {
		got = append(got, fmt.Sprint(e.Owner, " ", e.KeyID, " ", e.Action, " ", e.Object, " ", e.Status))
		if !strings.HasPrefix(e.Address, "127.0.0.1:") || e.At.IsZero() || e.RequestID == "" {
			t.Errorf("%+v", e)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if found := g.auditLog(app.AuditFilter{Owner: "root", Object: made.Header.Get("Location")}); len(found) != 2 || found[1].RequestID != removed.Header.Get("X-Request-Id") {
		t.Errorf("the changes of a token by root: %+v", found)
	}
}

// A client that cannot send DELETE removes an upload by POST. The audit log had only POST, from which
// nobody could see that the upload was removed.
func TestTheAuditLogHasTheMethodThatARequestNamesInPlaceOfPOST(t *testing.T) {
	t.Parallel()
	g := secured(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(stubHeader, "1")
		_, _ = io.Copy(io.Discard, r.Body)
	}, nil)
	key, _ := g.keyWith(principal.CatalogueRead)
	at := "/uploads/01890a5d-ac96-774b-bcce-b302099a8057"
	for _, method := range []string{"PATCH", "DELETE", "HEAD", "GET", "FOO", "delete", ""} { // HEAD only reads
		header := as(token(t, "alice", nil))
		header["X-HTTP-Method-Override"] = method
		g.do("POST", at, strings.NewReader("bytes"), header)
	}
	denied := as(key)
	denied["X-HTTP-Method-Override"] = "DELETE"
	g.do("POST", at, nil, denied)
	ordinary := as(token(t, "alice", nil))
	ordinary["X-HTTP-Method-Override"] = "DELETE" // has no effect on other routes
	g.do("POST", "/jobs/01890a5d-ac96-774b-bcce-b302099a8057/cancel", nil, ordinary)
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	var got []string
	for _, e := range g.auditLog(app.AuditFilter{Owner: "alice"}) {
		got = append(got, fmt.Sprint(e.Action, " ", e.Status))
	}
	const one = "/uploads/:upload_id"
	want := []string{
		"PATCH " + one + " 503", "DELETE " + one + " 503", "POST " + one + " 503", "POST " + one + " 503", "POST " + one + " 503", "POST " + one + " 503",
		"DELETE " + one + " 403", "POST /jobs/:job_id/cancel 200",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAnOpenGatewayHasNoAuditLog(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.create(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`)
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if entries := g.auditLog(app.AuditFilter{}); len(entries) > 0 {
		t.Errorf("%+v", entries)
	}
}
