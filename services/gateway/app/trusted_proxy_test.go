package app_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"sori.internal/shared/testkit/contract"
)

func TestLinksFollowATrustedProxy(t *testing.T) {
	t.Parallel()
	answer := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", fmt.Sprint(r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Proto"], r.Header["X-Forwarded-Host"], r.Header["X-Forwarded-Prefix"], r.Header["Forwarded"], r.Header["X-Real-Ip"]))
		switch {
		case strings.HasSuffix(r.URL.Path, "/audio"):
			w.Header().Set("Location", "https://objects.example.org/b/x?X-Amz-Signature=1")
			w.WriteHeader(http.StatusTemporaryRedirect)
		case r.Method == "POST":
			w.Header().Set("Location", "/tokens/analysis-result/x")
			w.WriteHeader(http.StatusAccepted)
		default:
			w.Header().Set("Link", `</jobs/?cursor=a>; rel="next", </jobs/?cursor=b>; rel="prev"`)
			_, _ = io.WriteString(w, "{}")
		}
	}
	trusting, _ := startWithUpstream(t, map[string]string{"TRUSTED_PROXIES": "loopback"}, answer)
	wary, _ := startWithUpstream(t, map[string]string{"TRUSTED_PROXIES": "private"}, answer)
	for _, c := range []struct {
		g      *env
		header map[string]string
		before string // the expected prefix of the paths in links
		seen   string // the X-Forwarded headers that the tracker has received
	}{
		{trusting, nil, "", "[127.0.0.1][http][HOST]"},
		{trusting, map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.com", "X-Forwarded-Prefix": "/sori/", "X-Forwarded-For": "203.0.113.9"},
			"https://api.example.com/sori", "[203.0.113.9, 127.0.0.1][https][api.example.com]"},
		{trusting, map[string]string{"X-Forwarded-Prefix": "/a/b"}, "/a/b", "[127.0.0.1][http][HOST]"},
		{trusting, map[string]string{"X-Forwarded-Proto": "https"}, "", "[127.0.0.1][https][HOST]"}, // without a forwarded host the links are paths, which have no scheme
		{trusting, map[string]string{"X-Forwarded-Host": "api.example.com:8080"}, "http://api.example.com:8080", "[127.0.0.1][http][api.example.com:8080]"},
		{trusting, map[string]string{"X-Forwarded-Host": "evil.net, api.example.com", "X-Forwarded-Proto": "http,https"}, "https://api.example.com", "[127.0.0.1][https][api.example.com]"},
		{trusting, map[string]string{"X-Forwarded-Host": "evil.net/x?", "X-Forwarded-Proto": "javascript", "X-Forwarded-Prefix": "//evil.net"}, "", "[127.0.0.1][http][HOST]"},
		{trusting, map[string]string{"Forwarded": "host=evil.net;proto=https", "X-Real-Ip": "1.2.3.4"}, "", "[127.0.0.1][http][HOST]"},
		{wary, map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.net", "X-Forwarded-Prefix": "/evil", "X-Forwarded-For": "203.0.113.9", "X-Real-Ip": "1.2.3.4"},
			"", "[127.0.0.1][http][HOST]"},
	} {
		seen := strings.ReplaceAll(c.seen, "HOST", strings.TrimPrefix(c.g.url, "http://")) + "[][][]"
		seen = strings.ReplaceAll(seen, "][", "] [")
		want := func(what, got, path string) {
			if got != path {
				t.Errorf("%v: %s is %q, not %q", c.header, what, got, path)
			}
		}
		up := c.g.upload(c.header, part{name: "file", file: "a.wav", content: wav(100)})
		want("an upload's Location", up.Header.Get("Location"), c.before+"/tokens/analysis-result/"+up.json(t)["job_id"].(string))
		made := c.g.do("POST", "/actors/", strings.NewReader(fmt.Sprintf(`{"name":"%p"}`, &c)), c.header)
		if !regexp.MustCompile("^" + regexp.QuoteMeta(c.before) + "/actors/[0-9]+$").MatchString(made.Header.Get("Location")) {
			t.Errorf("%v: %s, %s", c.header, made.Status, made.Header.Get("Location"))
		}
		list := c.g.do("GET", "/tokens/?limit=1&skip=1", nil, c.header)
		want("a list's Link", list.Header.Get("Link"), fmt.Sprintf(`<%s/tokens/?limit=1&skip=0>; rel="first", <%s/tokens/?limit=1&skip=0>; rel="prev"`, c.before, c.before))
		jobs := c.g.do("GET", "/jobs/", nil, c.header)
		want("the jobs' Link", jobs.Header.Get("Link"), fmt.Sprintf(`<%s/jobs/?cursor=a>; rel="next", <%s/jobs/?cursor=b>; rel="prev"`, c.before, c.before))
		want("what the tracker saw", jobs.Header.Get("X-Seen"), seen)
		want("a retry's Location", c.g.do("POST", "/jobs/x/retry", nil, c.header).Header.Get("Location"), c.before+"/tokens/analysis-result/x")
		want("the recording's Location", c.g.do("GET", "/jobs/x/audio", nil, c.header).Header.Get("Location"), "https://objects.example.org/b/x?X-Amz-Signature=1")
	}
}

func TestEveryRouteIsUnderTheBasePath(t *testing.T) {
	t.Parallel()
	dir := built(t, map[string]string{"index.html": `<meta name="sori-prefix" content="" /><script src="./assets/index-abc.js"></script>`})
	g, _ := startWithUpstream(t, map[string]string{"BASE_PATH": "/api/v1/", "TRUSTED_PROXIES": "loopback", "CONSOLE_DIR": dir, "CORS_ALLOWED_ORIGINS": listed},
		func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Method+" "+r.RequestURI) })
	root := g.inSubtest(t)
	root.url = strings.TrimSuffix(g.url, "/api/v1")
	root.http = &contract.Transport{Base: http.DefaultTransport, Exempt: func(*http.Response) bool { return true }} // the answers outside of the base path are not in the OpenAPI document
	for path, want := range map[string]int{
		"": 200, "/": 200, "/tokens": 200, "/tokens/": 200, "/jobs/?a=%20b": 200, "/openapi.json": 200, "/docs": 200, "/docs/docs.js": 200, "/console/assets/index-abc.js": 200,
		"/livez": 200, "/readyz": 200, "/health": 200, "/nowhere": 404, "/tokens/1/upload-audio": 405, "/api/v1/tokens": 404, "x/tokens": 404, "/../tokens": 404,
	} {
		if r := g.do("GET", path, nil, nil); r.StatusCode != want {
			t.Errorf("/api/v1%s: %s", path, r.Status)
		}
	}
	for path, want := range map[string]int{
		"/": 404, "/tokens": 404, "/jobs/": 404, "/docs": 404, "/openapi.json": 404, "/api": 404, "/api/v1x": 404, "/API/v1/tokens": 404, "/api/v1%2ftokens": 404, "/api/v1//tokens": 404,
		"/livez": 200, "/readyz": 200, "/readyz/": 200, "/health": 200, // probes are also answered without the base path
	} {
		r := root.do("GET", path, nil, map[string]string{"Origin": listed})
		if r.StatusCode != want {
			t.Errorf("%s: %s", path, r.Status)
		}
		readable(t, path, listed, r.Response)
	}
	g.problem(root.do("BREW", "/tokens", nil, nil), 404, "route-not-found")
	if r := g.do("GET", "/jobs/x/audio?a=%20b", nil, nil); string(r.text) != "GET /jobs/x/audio?a=%20b" {
		t.Errorf("the tracker was asked %s", r.text)
	}
	if r := g.do("OPTIONS", "/tokens", nil, nil); r.Header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("Allow is %q", r.Header.Get("Allow"))
	}
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(100)})
	r := g.do("POST", g.path(), bytes.NewReader(body), map[string]string{"Content-Type": contentType})
	if !strings.HasPrefix(r.Header.Get("Location"), "/api/v1/tokens/analysis-result/") {
		t.Errorf("Location is %q", r.Header.Get("Location"))
	}
	for prefix, header := range map[string]map[string]string{"/api/v1": nil, "/out/api/v1": {"X-Forwarded-Prefix": "/out"}} {
		browser := map[string]string{"Accept": asBrowser}
		for k, v := range header {
			browser[k] = v
		}
		for what, c := range map[string]struct {
			r    reply
			want string
		}{
			"the links":    {g.do("GET", "/", nil, header), `"tokens":"` + prefix + `/tokens/"`},
			"the document": {g.do("GET", "/openapi.json", nil, header), `"servers":[{"url":"` + prefix + `",`},
			"the pages":    {g.do("GET", "/docs", nil, header), `<script src="` + prefix + `/docs/docs.js">`},
			"their prefix": {g.do("GET", "/docs/", nil, header), `data-prefix="` + prefix + `"`},
			"the console":  {g.do("GET", "/", nil, browser), `content="` + prefix + `" /><script src="` + prefix + `/console/assets/index-abc.js">`},
			"a Link":       {g.do("GET", "/tokens/", nil, header), ""},
		} {
			if !strings.Contains(string(c.r.text), c.want) {
				t.Errorf("%s, under %s: %s", what, prefix, c.r.text)
			}
			if link := c.r.Header.Get("Link"); what == "a Link" && !strings.HasPrefix(link, "<"+prefix+"/tokens/?") {
				t.Errorf("Link is %q", link)
			}
		}
	}
}

func TestHTTP10ClientsGetBodiesWithoutChunks(t *testing.T) {
	t.Parallel()
	e := newEvents()
	g, _ := startWithUpstream(t, map[string]string{"CORS_ALLOWED_ORIGINS": listed, "SHUTDOWN_GRACE": "5s"}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/tokens/analysis-progress/"):
			e.serve(w, r)
		case r.URL.RawQuery == "broken":
			_, _ = io.WriteString(w, strings.Repeat("x", 100))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			for range 100 {
				_, _ = io.WriteString(w, strings.Repeat("x", 100))
				_ = http.NewResponseController(w).Flush()
			}
		}
	})
	old := func(path string) (*bufio.Reader, *http.Response) {
		w := g.dial()
		if _, err := fmt.Fprintf(w, "GET %s HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\nOrigin: %s\r\n\r\n", path, listed); err != nil {
			t.Fatal(err)
		}
		head, err := http.ReadResponse(w.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(head.TransferEncoding) > 0 || head.Header.Get("Transfer-Encoding") != "" {
			t.Errorf("%s: %v", path, head.TransferEncoding)
		}
		readable(t, path, listed, head)
		return w.r, head
	}
	for _, path := range []string{"/", "/livez", "/tokens/", "/openapi.json", "/nowhere"} {
		if _, head := old(path); head.ContentLength < 0 {
			t.Errorf("%s has no length", path)
		}
	}
	body, head := old("/jobs/")
	if text, err := io.ReadAll(body); err != nil || string(text) != strings.Repeat("x", 10000) || head.ContentLength != -1 || !head.Close {
		t.Errorf("%d bytes, %v, %d, closing %v", len(text), err, head.ContentLength, head.Close)
	}
	if broken, _ := old("/jobs/?broken"); true {
		if text, err := io.ReadAll(broken); err == nil {
			t.Errorf("a broken body looks whole: %s", text)
		}
	}
	frames, head := old(progress)
	if head.Header.Get("Content-Type") != "text/event-stream" || head.Header.Get("X-Last") != "" {
		t.Errorf("%v", head.Header)
	}
	for i := range 3 {
		e.frames <- fmt.Sprintf("data: %d\n\n", i)
		if line, err := frames.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("frame %d is %q, %v", i, line, err)
		}
		_, _ = frames.ReadString('\n')
	}
	if !strings.Contains(g.kit.Logged(), `"path":"/jobs/","status":200,"bytes":10000`) {
		t.Error("the line of the list is missing")
	}
	if err := g.stop(); err != nil { // the shutdown must end the stream with "retry"
		t.Error(err)
	}
	if rest, err := io.ReadAll(frames); err != nil || !regexp.MustCompile(`^retry: \d+\n\n$`).Match(rest) {
		t.Errorf("the end of the stream: %q, %v", rest, err)
	}
}
