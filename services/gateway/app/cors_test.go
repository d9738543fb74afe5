package app_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sori.internal/services/gateway/app"
	"sori.internal/shared/config"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/testkit"
)

// listed is the origin of a page that may use the API.
const listed = "https://app.example.com"

// varies reports whether the header Vary of a response lists a header exactly once.
func varies(r *http.Response, name string) bool {
	names := strings.Split(strings.ReplaceAll(strings.Join(r.Header.Values("Vary"), ","), " ", ""), ",")
	first := slices.Index(names, name)
	return first >= 0 && !slices.Contains(names[first+1:], name)
}

// readable checks that a page of an origin can read an answer and its headers.
func readable(t *testing.T, what, origin string, r *http.Response) {
	t.Helper()
	for name, want := range map[string]string{"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"} {
		if got := r.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s: %s is %q", what, r.Status, name, got)
		}
	}
	exposed := r.Header.Values("Access-Control-Expose-Headers")
	if len(exposed) != 1 {
		t.Errorf("%s: the headers are exposed as %q", what, exposed)
		return
	}
	for name := range r.Header {
		if name != "Vary" && name != "Connection" && name != "X-Content-Type-Options" && !strings.HasPrefix(name, "Access-Control-") && name != stubHeader && name != "X-Last" &&
			!slices.Contains([]string{"Cache-Control", "Content-Language", "Content-Length", "Content-Type", "X-Accel-Buffering", "Content-Security-Policy", "Referrer-Policy"}, name) &&
			!slices.Contains(strings.Split(strings.ToLower(exposed[0]), ", "), strings.ToLower(name)) {
			t.Errorf("%s: the header %s is not exposed", what, name)
		}
	}
	if !varies(r, "Origin") {
		t.Errorf("%s: Vary is %q", what, r.Header.Values("Vary"))
	}
}

// unreadable checks that no page of another origin can read an answer.
func unreadable(t *testing.T, what string, r *http.Response) {
	t.Helper()
	for name := range r.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s: %s: %s is there", what, r.Status, name)
		}
	}
}

func TestPreflightsAreAnsweredAtEveryPathBeforeAnyOtherCheck(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"CORS_ALLOWED_ORIGINS": listed})
	asked := []string{
		"Content-Type", "Authorization", "Idempotency-Key", "Content-Digest", "If-Match", "If-None-Match", "Last-Event-ID", "Accept-Language",
		"Prefer", "traceparent", "X-Request-Id", "Cache-Control", "Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Complete", "X-Requested-With",
		"sentry-trace", "X-Accel-Buffering",
	}
	for _, path := range []string{g.path(), "/tokens/x/upload-audio", "/tokens/", "/tokens/999", "/jobs/", "/jobs/x", result, progress, webhook, "/nowhere", "/", "/docs"} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			r := g.do("OPTIONS", path, nil, map[string]string{
				"Origin": listed, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": strings.ToLower(strings.Join(asked, ",")),
			})
			h := r.Header
			if r.StatusCode != 204 || len(r.text) > 0 || h.Get("Access-Control-Allow-Origin") != listed || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Access-Control-Max-Age") != "7200" {
				t.Errorf("%s %s: %s %v", method, path, r.Status, h)
			}
			if !slices.Contains(strings.Split(h.Get("Access-Control-Allow-Methods"), ", "), method) {
				t.Errorf("%s is not allowed", method)
			}
			allowed := strings.Split(strings.ToLower(h.Get("Access-Control-Allow-Headers")), ", ")
			for _, name := range asked {
				if !slices.Contains(allowed, strings.ToLower(name)) {
					t.Errorf("the header %s is not allowed", name)
				}
			}
			for _, name := range []string{"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"} {
				if !varies(r.Response, name) {
					t.Errorf("Vary is %q", h.Values("Vary"))
				}
			}
		}
		r := g.do("OPTIONS", path, nil, map[string]string{"Origin": "https://evil.net", "Access-Control-Request-Method": "POST"})
		unreadable(t, path, r.Response)
		if !varies(r.Response, "Origin") {
			t.Errorf("a preflight of another origin: %v", r.Header)
		}
	}
}

func TestPagesOfListedOriginsReadEveryAnswer(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"CORS_ALLOWED_ORIGINS": listed + ",http://localhost:*", "MAX_UPLOAD_BYTES": "100000"})
	large, contentType := form(part{name: "file", file: "a.wav", content: wav(1 << 20)})
	small, smallType := form(part{name: "file", file: "a.wav", content: wav(1000)})
	for _, c := range []struct {
		what, method, path, contentType string
		body                            []byte
		status                          int
	}{
		{"an upload", "POST", g.path(), smallType, small, 202},
		{"a large one", "POST", g.path(), contentType, large, 413},
		{"an unknown token", "POST", "/tokens/999/upload-audio", smallType, small, 404},
		{"no form", "POST", g.path(), "text/plain", []byte("x"), 415},
		{"a list", "GET", "/tokens/", "", nil, 200},
		{"a token", "GET", fmt.Sprintf("/tokens/%d", g.token), "", nil, 200},
		{"its head", "HEAD", fmt.Sprintf("/tokens/%d", g.token), "", nil, 200},
		{"rules broken", "POST", "/tokens/", "application/json", []byte("{}"), 422},
		{"a made token", "POST", "/tokens/", "application/json", []byte(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`), 201},
		{"a service away", "GET", result, "", nil, 503},
		{"a stream away", "GET", progress, "", nil, 503},
		{"no route", "GET", "/nowhere", "", nil, 404},
		{"another method", "PATCH", "/tokens/", "", nil, 405},
		{"a method of nobody", "BREW", "/tokens/", "", nil, 405},
		{"the methods", "OPTIONS", "/tokens/", "", nil, 204},
		{"the document", "GET", "/openapi.json", "", nil, 200},
		{"the documentation", "GET", "/docs", "", nil, 200},
		{"health", "GET", "/health", "", nil, 200},
	} {
		for _, origin := range []string{listed, "http://localhost:3000"} {
			header := map[string]string{"Origin": origin, "Sec-Fetch-Site": "cross-site", "Accept-Language": "en"}
			if c.contentType != "" {
				header["Content-Type"] = c.contentType
			}
			r := g.do(c.method, c.path, bytes.NewReader(c.body), header)
			if r.StatusCode != c.status {
				t.Errorf("%s: %s: %s", c.what, r.Status, r.text)
			}
			readable(t, c.what, origin, r.Response)
		}
	}
	// Vary lists Origin even if the request has no Origin. Otherwise a cache could serve this
	// answer, which has no CORS headers, to a page.
	for _, path := range []string{"/tokens/", "/nowhere", "/openapi.json"} {
		r := g.do("GET", path, nil, nil)
		unreadable(t, path, r.Response)
		if !varies(r.Response, "Origin") {
			t.Errorf("%s: Vary is %q", path, r.Header.Values("Vary"))
		}
	}
}

func TestAnAnswerInTheMiddleOfABodyCanBeRead(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"CORS_ALLOWED_ORIGINS": listed, "MAX_UPLOAD_BYTES": "100000"})
	hasty := start(t, map[string]string{"CORS_ALLOWED_ORIGINS": listed, "UPLOAD_IDLE_TIMEOUT": "300ms"})
	head := "--b\r\nContent-Disposition: form-data; name=file; filename=a.wav\r\n\r\n" + string(wav(1000))
	open := func(g *env) *wire {
		w := g.dial()
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nOrigin: %s\r\nContent-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", g.path(), listed, len(head), head)
		return w
	}
	w := open(g)
	w.send("%x\r\n%s\r\n", 300<<10, strings.Repeat("z", 300<<10))
	r := w.answer()
	g.problem(r, 413, "too-large")
	readable(t, "too large", listed, r.Response)
	r = open(hasty).answer()
	g.problem(r, 408, "request-timeout")
	readable(t, "too slow", listed, r.Response)
	w = g.dial() // the declared length is so large that no byte of the body is read
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nOrigin: %s\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 9999999999\r\n\r\n", g.path(), listed)
	r = w.answer()
	g.problem(r, 413, "too-large")
	readable(t, "declared too large", listed, r.Response)
	w = g.dial() // fasthttp refuses the request before any handler runs
	w.send("GET /tokens/ HTTP/1.1\r\nHost: localhost\r\nOrigin: %s\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", listed)
	if r := w.answer(); r.StatusCode != 400 {
		t.Errorf("two lengths: %s", r.Status)
	}
}

func TestForwardedAnswersHaveTheCORSHeadersOnce(t *testing.T) {
	t.Parallel()
	g, _ := startWithUpstream(t, map[string]string{"CORS_ALLOWED_ORIGINS": listed}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Methods", "BREW")
		w.Header().Set("Vary", "Accept-Language, Origin")
		if strings.HasPrefix(r.URL.Path, "/tokens/analysis-progress/") {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		w.WriteHeader(len(r.URL.RawQuery))
		if len(r.URL.RawQuery) != 204 {
			_, _ = io.WriteString(w, "data: x\n\n")
		}
	})
	for _, path := range []string{result, progress, "/jobs/", "/jobs/x/audio"} {
		for _, status := range []int{200, 204, 404, 410, 503} {
			path := path + "?" + strings.Repeat("x", status)
			r := g.do("GET", path, nil, map[string]string{"Origin": listed})
			readable(t, path[:20], listed, r.Response)
			if len(r.Header.Values("Access-Control-Allow-Methods")) > 0 || !varies(r.Response, "Accept-Language") {
				t.Errorf("%d: %v", status, r.Header)
			}
			unreadable(t, path[:20], g.do("GET", path, nil, map[string]string{"Origin": "https://evil.net"}).Response)
			unreadable(t, path[:20], g.do("GET", path, nil, nil).Response)
		}
	}
}

func TestEveryOriginMayBeAllowedButNotWithCredentials(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"CORS_ALLOWED_ORIGINS": "*"})
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(1000)})
	for _, origin := range []string{"https://anything.example", "null", ""} {
		r := g.do("POST", g.path(), bytes.NewReader(body), map[string]string{"Origin": origin, "Content-Type": contentType, "Sec-Fetch-Site": "cross-site"})
		if r.StatusCode != 202 || r.Header.Get("Access-Control-Allow-Origin") != "*" || r.Header.Get("Access-Control-Allow-Credentials") != "" || varies(r.Response, "Origin") {
			t.Errorf("%s: %s %v", origin, r.Status, r.Header)
		}
	}
	if r := g.do("GET", "/", nil, map[string]string{"X-Large": strings.Repeat("x", 40<<10), "Origin": listed}); r.StatusCode != 431 || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a large header: %s %v", r.Status, r.Header)
	}
}

// crossSite returns requests that a page can make a browser send. The first ones need no preflight,
// since a form could send them too.
func crossSite(g *env) []struct{ method, path, contentType, body string } {
	upload, contentType := form(part{name: "file", file: "a.wav", content: wav(300 << 10)})
	token := fmt.Sprintf("/tokens/%d", g.token)
	return []struct{ method, path, contentType, body string }{
		{"POST", g.path(), contentType, string(upload)},
		{"POST", "/tokens/", "", `{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`},
		{"POST", "/tokens/", "text/plain", `{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`},
		{"POST", "/actors/", "application/json", `{"name":"x"}`},
		{"PUT", token, "application/json", `{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`},
		{"DELETE", token, "", ""},
		{"DELETE", "/jobs/x", "", ""},
		{"POST", "/jobs/x/cancel", "", ""},
		{"POST", "/jobs/x/retry", "", ""},
		{"POST", webhook, "application/json", `{"analysis_results":{}}`},
		{"POST", "/nowhere", "", "x"},
		{"GET", fmt.Sprintf("/s3/params?filename=a.wav&metadata[token_id]=%d", g.token), "", ""}, // begins an upload
	}
}

func TestAPageOfAnUnlistedOriginChangesNothing(t *testing.T) {
	t.Parallel()
	g, _ := startWithUpstream(t, map[string]string{"CORS_ALLOWED_ORIGINS": listed + ",https://*.example.org"}, func(http.ResponseWriter, *http.Request) {
		t.Error("a request was passed on")
	})
	host := strings.TrimPrefix(g.url, "http://")
	port := host[strings.LastIndexByte(host, ':'):]
	for _, by := range []map[string]string{
		{"Origin": "https://evil.net"},
		{"Origin": "null"},
		{"Origin": listed + ".evil.net"},
		{"Origin": "http://app.example.com"},
		{"Origin": "https://evilexample.org"},
		{"Origin": listed + "/"},
		{"Origin": "http://localhost" + port}, // the gateway is requested as 127.0.0.1, so localhost is another origin
		{"Origin": "http://127.0.0.1:1"},
		{"Origin": "http://127.0.0.1"},
		{"Origin": "https://evil.net", "Sec-Fetch-Site": "cross-site"},
		{"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
		{"Sec-Fetch-Site": "cross-site"},
		{"Sec-Fetch-Site": "Same-Origin"},
		{"Origin": g.url, "Sec-Fetch-Site": "cross-site"}, // Sec-Fetch-Site has precedence
		{"Origin": "https://evil.net", "X-Forwarded-Host": "evil.net", "X-Forwarded-Proto": "https"},
	} {
		for _, w := range crossSite(g) {
			header := map[string]string{"Idempotency-Key": "same"}
			for k, v := range by {
				header[k] = v
			}
			header["Content-Type"] = w.contentType
			g.problem(g.do(w.method, w.path, strings.NewReader(w.body), header), http.StatusForbidden, "origin-not-allowed")
		}
	}
	g.assertNothingStored()
	if r := g.get(fmt.Sprintf("/tokens/%d", g.token)); r.json(t)["token_name"] != "인사" {
		t.Errorf("the token is now %s", r.text)
	}
	// The refused uploads have not claimed the idempotency key, so this upload is the first with
	// the key.
	r := g.upload(map[string]string{"Idempotency-Key": "same"}, part{name: "file", file: "a.wav", content: wav(1000)})
	if r.StatusCode != 202 || r.Header.Get("Idempotency-Replayed") != "" {
		t.Errorf("the first upload with the key: %s %v", r.Status, r.Header)
	}
}

func TestAPageOfAnUnlistedOriginIsRefusedBeforeItsBody(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.net\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000000\r\n\r\n--b\r\n", g.path())
	g.problem(w.answer(), http.StatusForbidden, "origin-not-allowed") // the rest of the body was never sent
}

func TestProgramsAndOwnPagesMayWrite(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	proxied := start(t, map[string]string{"TRUSTED_PROXIES": "loopback"})
	for _, c := range []struct {
		g      *env
		header map[string]string
	}{
		{g, nil},
		{g, map[string]string{"Origin": g.url}},
		{g, map[string]string{"Origin": g.url, "Sec-Fetch-Site": "same-origin"}},
		{g, map[string]string{"Origin": "https://behind.a.proxy", "Sec-Fetch-Site": "same-origin"}}, // the gateway does not know its public host, but Sec-Fetch-Site suffices
		{g, map[string]string{"Sec-Fetch-Site": "none"}},
		{proxied, map[string]string{"Origin": "https://api.example.com", "X-Forwarded-Host": "api.example.com", "X-Forwarded-Proto": "https"}},
		{proxied, map[string]string{"Origin": "https://api.example.com", "X-Forwarded-Host": "api.example.com:443"}},
		{proxied, map[string]string{"Origin": proxied.url}},
	} {
		if r := c.g.inSubtest(t).upload(c.header, part{name: "file", file: "a.wav", content: wav(1000)}); r.StatusCode != 202 {
			t.Errorf("%v: %s %s", c.header, r.Status, r.text)
		}
	}
	for _, header := range []map[string]string{
		{"Origin": "http://api.example.com", "X-Forwarded-Host": "api.example.com", "X-Forwarded-Proto": "https"},
		{"Origin": proxied.url, "X-Forwarded-Host": "api.example.com"},
		{"Origin": "https://evil.net", "X-Forwarded-Host": "evil.net, api.example.com"},
	} {
		proxied.problem(proxied.upload(header, part{name: "file", file: "a.wav", content: wav(1000)}), http.StatusForbidden, "origin-not-allowed")
	}
	for _, path := range []string{"/tokens/", "/openapi.json"} { // every page may send GET requests
		if r := g.do("GET", path, nil, map[string]string{"Origin": "https://evil.net", "Sec-Fetch-Site": "cross-site"}); r.StatusCode != 200 {
			t.Errorf("%s: %s", path, r.Status)
		} else {
			unreadable(t, path, r.Response)
		}
	}
}

func TestABadListOfOriginsStopsTheStart(t *testing.T) {
	t.Parallel()
	kit := testkit.New(t)
	kit.MigratedDatabase()
	for value, sentence := range map[string]string{
		"*,https://a.example.com":   "must be the only entry",
		"null":                      "sandboxed",
		"http://localhost:3000/app": "a host name and a port only",
	} {
		vars := kit.Settings(map[string]string{"TRACKER_URL": "http://127.0.0.1:1", "DISPATCHER_URL": "http://127.0.0.1:1", "CORS_ALLOWED_ORIGINS": value})
		err := app.Run(kit.Context(), lifecycle.Process{Lookup: config.Map(vars), Stderr: io.Discard})
		if err == nil || !strings.Contains(err.Error(), sentence) {
			t.Errorf("%s: %v", value, err)
		}
	}
}
