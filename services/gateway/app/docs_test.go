package app_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"sori.internal/shared/buildinfo"
	"sori.internal/shared/testkit/contract"
)

func TestTheDocumentIsServedAsJSON(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	r := g.do("GET", "/openapi.json", nil, nil)
	var served struct {
		Info struct{ Version string }
	}
	if err := json.Unmarshal(r.text, &served); err != nil || served.Info.Version != buildinfo.Version() {
		t.Errorf("%s: %v, the version is %q", r.Status, err, served.Info.Version)
	}
	d, err := contract.Parse(r.text)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	links := g.do("GET", "/", nil, nil).json(t)["links"].(map[string]any)
	if links["openapi"] != "/openapi.json" || links["docs"] != "/docs" {
		t.Errorf("the links are %v", links)
	}
}

// named matches the paths of the files that the page loads.
var named = regexp.MustCompile(`(?:src|href)="(/docs/[^"]+)"`)

func TestTheDocumentationLoadsNothingFromOtherHosts(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	page := g.do("GET", "/docs", nil, nil)
	policy := page.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; ") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("the policy is %s", policy)
	}
	if bytes.Contains(page.text, []byte("://")) || bytes.Contains(page.text, []byte("<style")) {
		t.Errorf("the page is %s", page.text)
	}
	files := named.FindAllSubmatch(page.text, -1)
	if len(files) != 5 {
		t.Errorf("it names %d files", len(files))
	}
	for _, f := range files {
		if r := g.do("GET", string(f[1]), nil, nil); r.StatusCode != http.StatusOK || len(r.text) == 0 || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %s", f[1], r.Status)
		}
	}
	for _, path := range []string{"/docs/none.js", "/docs/index.html", "/docs/..%2fopenapi.yaml", "/docs/swagger-ui.css.gz", "/docs/docs.css/x"} {
		g.problem(g.do("GET", path, nil, nil), http.StatusNotFound, "route-not-found")
	}
}

func TestAFileIsSentCompressedAndNotAgainIfTheClientHasIt(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, path := range []string{"/openapi.json", "/docs", "/docs/docs.js", "/docs/swagger-ui-bundle.js"} {
		tags := map[string]bool{}
		plain := g.do("GET", path, nil, map[string]string{"Accept-Encoding": "identity"})
		for _, accept := range []string{"identity", "gzip;q=0", "br", "gzip", "br, gzip"} {
			r := g.do("GET", path, nil, map[string]string{"Accept-Encoding": accept})
			text := r.text
			if zipped := strings.HasSuffix(accept, "gzip"); zipped != (r.Header.Get("Content-Encoding") == "gzip") {
				t.Errorf("%s, %s: %v", path, accept, r.Header)
			} else if zipped {
				unzipped, err := gzip.NewReader(bytes.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				text, _ = io.ReadAll(unzipped)
			}
			tag := r.Header.Get("ETag")
			tags[tag] = true
			if !bytes.Equal(text, plain.text) || r.Header.Get("Vary") != "Accept-Encoding" || r.Header.Get("Cache-Control") != "no-cache" {
				t.Errorf("%s, %s: %d bytes, %v", path, accept, len(text), r.Header)
			}
			again := g.do("GET", path, nil, map[string]string{"Accept-Encoding": accept, "If-None-Match": `"x", W/` + tag})
			if again.StatusCode != http.StatusNotModified || len(again.text) != 0 || again.Header.Get("ETag") != tag {
				t.Errorf("%s, %s, known: %s", path, accept, again.Status)
			}
			if r := g.do("HEAD", path, nil, map[string]string{"Accept-Encoding": accept}); r.StatusCode != http.StatusOK || len(r.text) != 0 {
				t.Errorf("HEAD %s, %s: %s", path, accept, r.Status)
			}
		}
		if len(tags) != 2 {
			t.Errorf("%s: two encodings have %d tags", path, len(tags))
		}
	}
}
