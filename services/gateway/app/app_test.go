package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
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
	}), &cfg)
	for _, name := range []string{"TRACKER_URL", "MAX_CONCURRENT_UPLOADS", "UPLOAD_TIMEOUT", "IDEMPOTENCY_LEASE"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestServiceRoutes(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for path, want := range map[string]string{
		"/": `"sori-gateway"`, "/health": `"healthy"`, "/livez": `"ok"`, "/readyz": `"database":"ok"`,
		"/metrics": "sori_uploads_active 0", "/health/": `"healthy"`,
	} {
		r := g.do("GET", path, nil, nil)
		if r.StatusCode != http.StatusOK || !strings.Contains(string(r.text), want) {
			t.Errorf("%s: %s: %s", path, r.Status, r.text)
		}
	}
	if r := g.do("HEAD", "/livez", nil, nil); r.StatusCode != http.StatusOK || len(r.text) != 0 {
		t.Errorf("HEAD: %s %q", r.Status, r.text)
	}
}

func TestWhatNoRouteTakesIsAProblem(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, r := range []reply{
		g.do("GET", "/nowhere", nil, nil), g.do("PATCH", "/tokens/1", nil, nil), g.do("DELETE", "/", nil, nil),
		g.do("BREW", "/tokens", nil, nil), g.do("GET", "/tokens/1/upload-audio", nil, nil), g.do("GET", "/Tokens", nil, nil),
	} {
		g.problem(r, http.StatusNotFound, "route-not-found")
	}
	g.problem(g.do("GET", "/", nil, map[string]string{"X-Large": strings.Repeat("x", 40<<10)}),
		http.StatusRequestHeaderFieldsTooLarge, "headers-too-large")
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
