package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sori.internal/services/gateway/app"
	"sori.internal/shared/config"
	"sori.internal/shared/testkit"
)

func TestAPageThatRebindsItsNameToThisAddressReadsAndChangesNothing(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	body := `{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`
	for name, header := range map[string]string{
		"a browser":               "Host: evil.net\r\nOrigin: http://evil.net\r\nSec-Fetch-Site: same-origin\r\n",
		"with a port":             "Host: evil.net:8000\r\nSec-Fetch-Site: same-origin\r\n",
		"as if behind a proxy":    "Host: evil.net\r\nX-Forwarded-Host: localhost\r\n",
		"a name that begins well": "Host: localhost.evil.net\r\n",
	} {
		for _, path := range []string{"/tokens/", "/jobs/", "/", "/docs", "/openapi.json", "/nowhere", "/tokens/webhook/analysis-complete"} {
			w := g.dial()
			w.send("GET %s HTTP/1.1\r\n%s\r\n", path, header)
			g.inSubtest(t).problem(w.answer(), http.StatusMisdirectedRequest, "host-not-allowed")
		}
		w := g.dial()
		w.send("POST /tokens/ HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", header, len(body), body)
		g.problem(w.answer(), http.StatusMisdirectedRequest, "host-not-allowed")
		w = g.dial()
		w.send("GET http://evil.net/tokens/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if answer := w.rest(); !strings.HasPrefix(answer, "HTTP/1.1 421 ") {
			t.Errorf("a target of another host: %s", answer)
		}
		w = g.dial()
		w.send("POST %s HTTP/1.1\r\n%sContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000000\r\n\r\n--b\r\n", g.path(), header)
		g.problem(w.answer(), http.StatusMisdirectedRequest, "host-not-allowed") // the rest of the body was never sent
		if name == "a browser" {
			w = g.dial()
			w.send("OPTIONS /tokens/ HTTP/1.1\r\n%sAccess-Control-Request-Method: POST\r\n\r\n", header)
			g.problem(w.answer(), http.StatusMisdirectedRequest, "host-not-allowed")
		}
	}
	g.assertNothingStored()
	var tokens []map[string]any
	if g.get("/tokens/").decode(t, &tokens); len(tokens) != 1 {
		t.Errorf("there are %d tokens", len(tokens))
	}
}

func TestListedHostsAndTheNamesOfThisMachineAreServed(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"ALLOWED_HOSTS": "sori.example.com,*.example.org", "TRUSTED_PROXIES": "loopback"})
	for _, c := range []struct {
		header string
		status int
	}{
		{"Host: localhost\r\n", 200},
		{"Host: 127.0.0.1:8000\r\n", 200},
		{"Host: sori.example.com:8443\r\n", 200},
		{"Host: a.b.example.org\r\n", 200},
		{"Host: localhost\r\nX-Forwarded-Host: sori.example.com\r\n", 200},
		{"Host: localhost\r\nX-Forwarded-Host: evil.net\r\n", 421},
		{"Host: evil.net\r\nX-Forwarded-Host: sori.example.com\r\n", 421}, // a page can set the second header, not the first
		{"Host: example.org\r\n", 421},
	} {
		w := g.dial()
		w.send("GET /tokens/ HTTP/1.1\r\n%s\r\n", c.header)
		if r := w.answer(); r.StatusCode != c.status {
			t.Errorf("%q: %s", c.header, r.Status)
		}
	}
	w := g.dial() // an analysis server reaches the gateway by a name of its own network; the dispatcher of this test is unavailable
	w.send("POST /tokens/webhook/analysis-complete/?sig=x HTTP/1.1\r\nHost: host.docker.internal:8000\r\nContent-Length: 2\r\n\r\n{}")
	if r := w.answer(); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("callback: %s", r.Status)
	}
	w = g.dial() // an orchestrator requests probes by address
	w.send("GET /readyz/ HTTP/1.1\r\nHost: 10.1.2.3:8000\r\n\r\n")
	if r := w.answer(); r.StatusCode != http.StatusOK {
		t.Errorf("probe: %s", r.Status)
	}
}

func TestAGatewayOnEveryAddressServesEveryHostAndSaysSo(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"HTTP_ADDR": ":0", "AUTH_DISABLED": "true"})
	_, port, _ := strings.Cut(strings.TrimPrefix(g.url, "http://"), "]:")
	g.url = "http://127.0.0.1:" + port
	w := g.dial()
	w.send("GET /tokens/ HTTP/1.1\r\nHost: sori.example.com\r\n\r\n")
	if r := w.answer(); r.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", r.Status, r.text)
	}
	if !strings.Contains(g.kit.Logged(), "ALLOWED_HOSTS is not set") {
		t.Error("the log does not say so")
	}
}

func TestABadListOfHostsStopsTheStart(t *testing.T) {
	t.Parallel()
	vars := settings(testkit.New(t), map[string]string{"ALLOWED_HOSTS": "https://example.com"})
	var cfg app.Config
	if err := config.Load(config.Map(vars), &cfg); err == nil || !strings.Contains(err.Error(), `"https://example.com" is no host`) {
		t.Error(err)
	}
}

func TestEveryAnswerKeepsItsURLAndItsTypeFromOtherPages(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, path := range []string{"/", "/tokens/", fmt.Sprintf("/tokens/%d", g.token), "/docs", "/nowhere", "/readyz", "/tokens/x", "/jobs/"} {
		h := g.ask(path).Header
		if h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, h)
		}
	}
}
