package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sori.internal/services/gateway/app"
	"sori.internal/shared/config"
	"sori.internal/shared/testkit"
)

func TestREADMETellsTheSettings(t *testing.T) {
	t.Parallel()
	testkit.CheckSettings(t, "../README.md", &app.Config{})
}

func TestSettingsAreCheckedTogether(t *testing.T) {
	t.Parallel()
	var cfg app.Config
	err := config.Load(config.Map(map[string]string{
		"NATS_URL": "nats://x", "DATABASE_URL": "postgres://x", "TRACKER_URL": "tracker:1", "DISPATCHER_URL": "http://d",
		"MAX_CONCURRENT_UPLOADS": "0", "UPLOAD_TIMEOUT": "0s", "IDEMPOTENCY_LEASE": "1ms",
		"CORS_ALLOWED_ORIGINS": "https://good.example.com,bad.example.com", "TRUSTED_PROXIES": "loopback,everybody", "BASE_PATH": "api",
		"OIDC_CLIENT_ID": "console", "OIDC_SCOPES": "profile", "SHUTDOWN_GRACE": "-1s", "MAX_DIRECT_UPLOAD_BYTES": "-1", "MAX_FETCH_BYTES": "0",
		"UPLOAD_EXPIRY": "-24h", "MAX_AUDIO_SECONDS": "-1", "AUDIO_RETENTION": "-1h", "RESULT_RETENTION": "-1h",
	}), &cfg)
	for _, name := range []string{
		"TRACKER_URL", "MAX_CONCURRENT_UPLOADS", "UPLOAD_TIMEOUT", "IDEMPOTENCY_LEASE",
		`"bad.example.com" is not an allowed origin`, `"everybody" is no trusted proxy`, "BASE_PATH must be a path",
		"OIDC_CLIENT_ID requires OIDC_ISSUER", "OIDC_SCOPES must contain openid", "SHUTDOWN_GRACE must", "MAX_DIRECT_UPLOAD_BYTES and MAX_FETCH_BYTES must",
		"UPLOAD_EXPIRY must", "MAX_AUDIO_SECONDS must", "AUDIO_RETENTION and RESULT_RETENTION must",
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestAnUploadMayNotTakeLongerThanNATSKeepsItsRecord(t *testing.T) {
	t.Parallel()
	var cfg app.Config
	err := config.Load(config.Map(map[string]string{"JOBS_MAX_AGE": "23h"}), &cfg)
	if err == nil || !strings.Contains(err.Error(), "UPLOAD_EXPIRY must be positive and not longer than JOBS_MAX_AGE") {
		t.Errorf("it is accepted: %v", err)
	}
}

func TestTheSecretOfTokensIsNotTheOneThatSignsTickets(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("x", 32)
	for other, refused := range map[string]bool{secret: true, secret + "y": false} {
		err := config.Load(config.Map(map[string]string{"AUTH_JWT_SECRET": secret, "PRINCIPAL_SECRET": other}), &app.Config{})
		if err == nil || strings.Contains(err.Error(), "AUTH_JWT_SECRET must differ from PRINCIPAL_SECRET") != refused {
			t.Errorf("%s: %v", other, err)
		}
	}
}

func TestServiceRoutes(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for path, want := range map[string]string{
		"/": `"sori-gateway"`, "/health": `"healthy"`, "/livez": `"ok"`, "/readyz": `"database":"ok"`,
		"/health/": `"healthy"`,
	} {
		r := g.do("GET", path, nil, nil)
		if r.StatusCode != http.StatusOK || !strings.Contains(string(r.text), want) {
			t.Errorf("%s: %s: %s", path, r.Status, r.text)
		}
	}
	if text := g.metrics(); !strings.Contains(text, "sori_uploads_active 0") {
		t.Errorf("the metrics: %s", text)
	}
	g.problem(g.ask("/metrics"), http.StatusNotFound, "route-not-found") // metrics are not served on the address for clients
	if r := g.do("HEAD", "/livez", nil, nil); r.StatusCode != http.StatusOK || len(r.text) != 0 {
		t.Errorf("HEAD: %s %q", r.Status, r.text)
	}
}

func TestAnUnknownPathIsAProblem(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, r := range []reply{
		g.do("GET", "/nowhere", nil, nil), g.do("BREW", "/nowhere", nil, nil), g.do("OPTIONS", "/nowhere", nil, nil),
		g.do("GET", "/Tokens", nil, nil), g.do("DELETE", "/tokens/1/upload-audio/x", nil, nil), g.do("POST", "/jobs/a/b/c", nil, nil),
	} {
		g.problem(r, http.StatusNotFound, "route-not-found")
	}
	g.problem(g.do("GET", "/", nil, map[string]string{"X-Large": strings.Repeat("x", 40<<10)}),
		http.StatusRequestHeaderFieldsTooLarge, "headers-too-large")
}

func TestAPathThatAnUpstreamWouldChangeIsNotForwarded(t *testing.T) {
	t.Parallel()
	var s seen
	g := secured(t, func(_ http.ResponseWriter, r *http.Request) { s.add(r) }, nil)
	alice := token(t, "alice", nil)
	for _, path := range []string{
		"/jobs/../audio?ticket=x", "/tokens/analysis-progress/..?ticket=x", "/jobs/./audio", "/jobs/..", "/jobs//", "/jobs//x", "/tokens//", "/tokens/1//", "/uploads/..", "/s3/multipart/x/..",
	} {
		for _, method := range []string{"GET", "DELETE", "POST"} {
			w := g.dial() // raw bytes, since an HTTP client would normalize the path
			w.send("%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, path, alice)
			if answer := w.rest(); !strings.HasPrefix(answer, "HTTP/1.1 404 ") || !strings.Contains(answer, `"route-not-found"`) {
				t.Errorf("%s %s: %s", method, path, answer)
			}
		}
	}
	w := g.dial()
	w.send("POST /tokens/1/upload-audio// HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\nConnection: close\r\n\r\n123456789")
	if answer := w.rest(); strings.Contains(answer, "HTTP/1.1 100") { // the gateway does not request the body, since the request has no credentials
		t.Errorf("the body is asked for: %s", answer)
	}
	if s.count() != 0 {
		t.Errorf("%d requests were forwarded", s.count())
	}
}

func TestAKnownPathNamesItsMethods(t *testing.T) {
	t.Parallel()
	g := start(t, nil) // no tracker and no dispatcher run, so every answer is that of the gateway
	for path, allowed := range map[string]string{
		"/":                                 "GET, HEAD, OPTIONS",
		"/livez":                            "GET, HEAD, OPTIONS",
		"/tokens":                           "GET, HEAD, OPTIONS, POST",
		"/tokens/1":                         "DELETE, GET, HEAD, OPTIONS, PUT",
		"/tokens/1/upload-audio":            "OPTIONS, POST",
		"/tokens/analysis-result/1":         "GET, HEAD, OPTIONS",
		"/tokens/analysis-progress/1":       "GET, HEAD, OPTIONS",
		"/tokens/webhook/analysis-complete": "OPTIONS, POST",
		"/jobs":                             "GET, HEAD, OPTIONS",
		"/jobs/x":                           "DELETE, OPTIONS",
		"/jobs/x/audio":                     "GET, HEAD, OPTIONS",
		"/jobs/x/cancel":                    "OPTIONS, POST",
		"/jobs/x/retry":                     "OPTIONS, POST",
		"/scripts/token/1":                  "GET, HEAD, OPTIONS",
		"/actors/search/%ED%95%98%EB%82%98": "GET, HEAD, OPTIONS",
		"/actors/1/tokens":                  "GET, HEAD, OPTIONS",
		"/docs/docs.js":                     "GET, HEAD, OPTIONS",
		"/console":                          "GET, HEAD, OPTIONS",
		"/console/assets/a.js":              "GET, HEAD, OPTIONS",
		"/console/config.json":              "GET, HEAD, OPTIONS",
		"/openapi.json":                     "GET, HEAD, OPTIONS",
	} {
		for _, path := range []string{path, strings.TrimSuffix(path, "/") + "/"} {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW"} {
				if slices.Contains(strings.Split(allowed, ", "), method) {
					continue
				}
				r := g.do(method, path, nil, nil)
				if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != allowed {
					t.Errorf("%s %s: %s, Allow %q, not %q", method, path, r.Status, r.Header.Get("Allow"), allowed)
				}
				if method != "HEAD" {
					g.problem(r, http.StatusMethodNotAllowed, "method-not-allowed")
				}
			}
			r := g.do("OPTIONS", path, nil, nil)
			if r.StatusCode != http.StatusNoContent || r.Header.Get("Allow") != allowed || len(r.text) > 0 || r.Header.Get("X-Request-Id") == "" {
				t.Errorf("OPTIONS %s: %s, %v", path, r.Status, r.Header)
			}
		}
	}
	w := g.dial()
	w.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if answer := w.rest(); !strings.HasPrefix(answer, "HTTP/1.1 204 ") || !strings.Contains(answer, "\r\nAllow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n") {
		t.Errorf("the whole server: %s", answer)
	}
}

func TestARequestKeepsItsIDAndTrace(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	r := g.do("GET", "/tokens/7", nil, map[string]string{"X-Request-Id": "mine-7", "Traceparent": parent})
	g.problem(r, http.StatusNotFound, "token-not-found")
	if got := r.Header.Get("X-Request-Id"); got != "mine-7" {
		t.Errorf("the request id became %q", got)
	}
	var lines int
	for line := range strings.Lines(g.kit.Logged()) {
		if !strings.Contains(line, `"mine-7"`) || !strings.Contains(line, "request answered") {
			continue
		}
		lines++
		var entry map[string]any
		if err := json.NewDecoder(bytes.NewReader([]byte(line))).Decode(&entry); err != nil {
			t.Fatal(err)
		}
		if entry["trace_id"] != "0af7651916cd43dd8448eb211c80319c" || entry["status"] != 404.0 || entry["path"] != "/tokens/7" {
			t.Errorf("the line is %s", line)
		}
	}
	if lines != 1 {
		t.Errorf("%d lines for one request", lines)
	}
}
