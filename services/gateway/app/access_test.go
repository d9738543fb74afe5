package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sori.internal/services/gateway/app"
	"sori.internal/services/gateway/internal/access"
	"sori.internal/shared/config"
	"sori.internal/shared/principal"
	"sori.internal/shared/testkit"
)

const (
	jwtSecret = "a-secret-of-thirty-two-bytes-0123"
	audience  = "sori"
)

// secured starts a gateway that authenticates requests. If upstream is nil, its tracker and
// dispatcher are unavailable.
func secured(t *testing.T, upstream http.HandlerFunc, changes map[string]string) *env {
	t.Helper()
	kit := testkit.New(t)
	kit.MigratedDatabase()
	return securedIn(t, kit, upstream, changes)
}

func securedIn(t *testing.T, kit *testkit.Kit, upstream http.HandlerFunc, changes map[string]string) *env {
	t.Helper()
	vars := map[string]string{
		"TRACKER_URL": "http://127.0.0.1:1", "DISPATCHER_URL": "http://127.0.0.1:1", "AUTH_JWT_SECRET": jwtSecret, "OIDC_AUDIENCE": audience,
	}
	if upstream != nil {
		server, end := newUpstream(upstream)
		defer t.Cleanup(end)
		vars["TRACKER_URL"], vars["DISPATCHER_URL"] = server.URL, server.URL
	}
	maps.Copy(vars, changes)
	g := newEnv(t, kit, kit.Run(app.Run, vars))
	g.ready()
	return g
}

// token returns a JWT for a subject, signed with jwtSecret. The claims in changes are added to the
// usual ones or replace them.
func token(t *testing.T, subject string, changes jwt.MapClaims) string {
	t.Helper()
	c := jwt.MapClaims{"sub": subject, "aud": audience, "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(c, changes)
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(jwtSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func adminToken(t *testing.T) string {
	t.Helper()
	return token(t, "root", jwt.MapClaims{"roles": []string{"sori-admin"}})
}

// as returns the header of a request with a credential.
func as(credential string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + credential, "Content-Type": "application/json"}
}

func TestTheLogHasNoCredentialOfARequestThatCannotBeRead(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, nil)
	text, _ := g.keyWith(principal.JobsRead)
	for _, header := range []string{
		"Authorization : Bearer " + text, "Authorization: Bearer " + text + "\x00", "X-Api-Key: " + text + "\r\nHost: localhost",
		"X-Api-Key: " + text + "\r\nTransfer-Encoding: xchunked", "X-Api-Key: " + text + "\r\nContent-Length: x",
	} {
		w := g.dial()
		w.send("GET /me?ticket=%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", text, header)
		g.problem(w.answer(), http.StatusBadRequest, "malformed-request")
	}
	if strings.Contains(g.kit.Logged(), text) {
		t.Error("the log tells the key")
	}
}

// key makes an API key by a request with this credential and body. It returns the text of the key
// and its id.
func (g *env) key(credential, body string) (text, id string) {
	g.t.Helper()
	r := g.do("POST", "/api-keys", strings.NewReader(body), as(credential))
	if r.StatusCode != http.StatusCreated || r.Header.Get("Cache-Control") != "no-store" {
		g.t.Fatalf("make a key: %s: %s", r.Status, r.text)
	}
	made := r.json(g.t)
	return made["key"].(string), made["id"].(string)
}

// keyWith makes a key of alice with scopes.
func (g *env) keyWith(scopes ...principal.Scope) (text, id string) {
	g.t.Helper()
	names, _ := json.Marshal(scopes)
	return g.key(adminToken(g.t), fmt.Sprintf(`{"name":"test","owner":"alice","scopes":%s}`, names))
}

// actor is a sender of requests. answer returns the expected problem code for a route that needs a
// scope, or "" if the request reaches the handler.
type actor struct {
	name   string
	header map[string]string
	answer func(needs principal.Scope) string
}

func always(code string) func(principal.Scope) string {
	return func(principal.Scope) string { return code }
}

// actors returns senders without credentials, with a token and with an API key for each scope, and
// senders whose credentials are invalid.
func (g *env) actors() []actor {
	t := g.t
	user := token(t, "alice", nil)
	revoked, id := g.keyWith(principal.Admin)
	if r := g.do("DELETE", "/api-keys/"+id, nil, as(adminToken(t))); r.StatusCode != http.StatusNoContent {
		t.Fatalf("revoke: %s %s", r.Status, r.text)
	}
	withScope := func(has ...principal.Scope) func(principal.Scope) string {
		p := principal.Principal{Scopes: has, KeyID: "key"}
		return func(needs principal.Scope) string {
			if access.Authorize(p, needs) != nil {
				return "insufficient-scope"
			}
			return ""
		}
	}
	all := []actor{
		{"nobody", nil, always("unauthenticated")},
		{"a user", as(user), func(needs principal.Scope) string {
			if needs == access.Keys || needs == access.Authenticated || slices.Contains(principal.UserScopes(), needs) {
				return ""
			}
			return "insufficient-scope"
		}},
		{"an admin", as(adminToken(t)), always("")},
		{"an expired token", as(token(t, "root", jwt.MapClaims{"roles": "sori-admin", "exp": time.Now().Add(-time.Hour).Unix()})), always("invalid-token")},
		{"another audience", as(token(t, "root", jwt.MapClaims{"roles": "sori-admin", "aud": "another"})), always("invalid-token")},
		{"a revoked key", as(revoked), always("invalid-token")},
		{"a key and a token", map[string]string{"Authorization": "Bearer " + user, "X-Api-Key": revoked}, always("malformed-request")},
		{"a forged principal", map[string]string{principal.Header: "root"}, always("unauthenticated")},
	}
	for _, scope := range principal.Scopes() {
		text, _ := g.keyWith(scope)
		all = append(all, actor{"a key with " + string(scope), map[string]string{"X-Api-Key": text}, withScope(scope)})
	}
	return all
}

func TestEveryRouteIsDeniedToWhoMayNot(t *testing.T) {
	t.Parallel()
	g := secured(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }, nil)
	table, _, err := app.RouteTable()
	if err != nil {
		t.Fatal(err)
	}
	actors := g.actors()
	for _, r := range table {
		path := pathParameter.ReplaceAllStringFunc(r.Path, func(name string) string {
			if name == ":job_id" {
				return "0199a5f2-0000-7000-8000-000000000000"
			}
			return "1"
		})
		for _, a := range actors {
			what := fmt.Sprintf("%s %s by %s", r.Method, path, a.name)
			got := g.do(r.Method, path, nil, a.header)
			want := ""
			if r.Needs != access.Public {
				want = a.answer(r.Needs)
			}
			g.checkAccess(what, r.Method, got, want)
		}
	}
}

// checkAccess checks that an answer denies access with a problem code, the parameter want. If want is
// empty, it checks that the answer does not deny access.
func (g *env) checkAccess(what, method string, got reply, want string) {
	g.t.Helper()
	status := map[string]int{"": 0, "unauthenticated": 401, "invalid-token": 401, "insufficient-scope": 403, "malformed-request": 400}[want]
	denied := got.StatusCode == http.StatusUnauthorized || got.StatusCode == http.StatusForbidden
	if want == "" {
		if denied {
			g.t.Errorf("%s: %s %s", what, got.Status, got.text)
		}
		return
	}
	if got.StatusCode != status || method != http.MethodHead && got.json(g.t)["code"] != want {
		g.t.Errorf("%s: %s %s, not %s", what, got.Status, got.text, want)
	}
	challenge := got.Header.Get("WWW-Authenticate")
	for code, part := range map[string]string{
		"unauthenticated": `Bearer realm="sori"`, "invalid-token": `error="invalid_token"`, "insufficient-scope": `error="insufficient_scope", scope="`,
		"malformed-request": `error="invalid_request"`,
	} {
		if code == want && !strings.Contains(challenge, part) {
			g.t.Errorf("%s: WWW-Authenticate is %q", what, challenge)
		}
	}
}

func TestABodyIsNotReadBeforeItsSenderIsKnown(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, nil)
	const path = "/tokens/1/upload-audio"
	for name, framing := range map[string]string{
		"a body that is announced":  "Expect: 100-continue\r\nContent-Length: 1000000\r\n",
		"a body that does not come": "Content-Length: 1000000\r\n",
		"chunks":                    "Transfer-Encoding: chunked\r\n",
		"chunks that are announced": "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
	} {
		w := g.dial()
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k\r\nContent-Type: multipart/form-data; boundary=x\r\n%s\r\n", path, framing)
		r := w.answer() // the client has sent no byte of the body
		g.problem(r, http.StatusUnauthorized, "unauthenticated")
		if rest := w.rest(); rest != "" {
			t.Errorf("%s: after the answer comes %q", name, rest)
		}
	}
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nExpect: 100-continue\r\n"+
		"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 10\r\n\r\n", path, token(t, "alice", nil))
	if line, err := w.r.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Errorf("with a token: %q, %v", line, err)
	}
}

func TestTheBodyOfADeniedRequestIsNeverParsedAsTheNext(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, nil)
	w := g.dial()
	smuggled := fmt.Sprintf("GET /tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", token(t, "alice", nil))
	w.send("POST /tokens HTTP/1.1\r\nHost: localhost\r\nX-Sori-Denied: \r\nContent-Length: %d\r\n\r\n", len(smuggled))
	_, _ = io.WriteString(w, smuggled)
	g.problem(w.answer(), http.StatusUnauthorized, "unauthenticated")
	if rest := w.rest(); strings.Contains(rest, "HTTP/1.1") {
		t.Errorf("a second answer: %q", rest)
	}
}

func TestAPreflightNeedsNoCredentials(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, map[string]string{"CORS_ALLOWED_ORIGINS": "https://app.example.com"})
	r := g.do("OPTIONS", "/jobs", nil, map[string]string{
		"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization,x-api-key",
	})
	allowed := r.Header.Get("Access-Control-Allow-Headers")
	if r.StatusCode != http.StatusNoContent || !strings.Contains(allowed, "Authorization") || !strings.Contains(allowed, "X-API-Key") {
		t.Errorf("%s, %v", r.Status, r.Header)
	}
	r = g.do("GET", "/jobs", nil, map[string]string{"Origin": "https://app.example.com"})
	g.problem(r, http.StatusUnauthorized, "unauthenticated")
	if r.Header.Get("Access-Control-Allow-Origin") == "" || !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
		t.Errorf("the page cannot read why: %v", r.Header)
	}
}

func TestAnswersToOneAreNotForOthers(t *testing.T) {
	t.Parallel()
	g := secured(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "no-cache") }, nil)
	for path, want := range map[string]string{"/tokens": "private, no-cache", result: "private, no-cache", "/openapi.json": "no-cache"} {
		r := g.do("GET", path, nil, as(adminToken(t)))
		if got := r.Header.Get("Cache-Control"); r.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s: %s, Cache-Control %q, not %q", path, r.Status, got, want)
		}
		if private := path != "/openapi.json"; varies(r.Response, "Authorization") != private || varies(r.Response, "X-API-Key") != private {
			t.Errorf("%s: Vary %q", path, r.Header.Values("Vary"))
		}
	}
}

func TestADenialIsLoggedWithoutTheCredential(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, nil)
	expired := token(t, "alice", jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()})
	header := as(expired)
	header["X-Request-Id"] = "mine-9"
	g.problem(g.do("GET", "/jobs", nil, header), http.StatusUnauthorized, "invalid-token")
	var lines int
	for line := range strings.Lines(g.kit.Logged()) {
		for _, part := range strings.Split(expired, ".") {
			if strings.Contains(line, part) {
				t.Errorf("the log tells a part of the token: %s", line)
			}
		}
		if !strings.Contains(line, "request denied") {
			continue
		}
		lines++
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry["request_id"] != "mine-9" || entry["code"] != "invalid-token" || entry["outcome"] != "The token has expired." ||
			!strings.HasPrefix(fmt.Sprint(entry["address"]), "127.0.0.1:") {
			t.Errorf("the line is %s", line)
		}
	}
	if lines != 1 {
		t.Errorf("%d lines for one denial", lines)
	}
}

func TestWithoutAuthenticationAStartBeyondLoopbackIsRefused(t *testing.T) {
	t.Parallel()
	vars := map[string]string{
		"NATS_URL": "nats://x", "DATABASE_URL": "postgres://x", "TRACKER_URL": "http://t", "DISPATCHER_URL": "http://d", "S3_BUCKET_NAME": "b",
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "PRINCIPAL_SECRET": strings.Repeat("x", 32),
	}
	for name, c := range map[string]struct {
		changes map[string]string
		starts  bool
	}{
		"the default address": {nil, false},
		"loopback":            {map[string]string{"HTTP_ADDR": "127.0.0.1:8000"}, true},
		"said aloud":          {map[string]string{"AUTH_DISABLED": "true"}, true},
		"with a secret":       {map[string]string{"AUTH_JWT_SECRET": jwtSecret}, true},
		"no principal secret": {map[string]string{"AUTH_JWT_SECRET": jwtSecret, "PRINCIPAL_SECRET": ""}, false},
	} {
		all := maps.Clone(vars)
		maps.Copy(all, c.changes)
		if err := config.Load(config.Map(all), &app.Config{}); (err == nil) != c.starts {
			t.Errorf("%s: %v", name, err)
		}
	}
	g := start(t, nil)
	if !strings.Contains(g.kit.Logged(), "requests are not authenticated") {
		t.Error("an open instance does not say so")
	}
}
