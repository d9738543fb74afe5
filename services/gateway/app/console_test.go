package app_test

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sori.internal/services/gateway/app"
	"sori.internal/shared/testkit"
)

// asBrowser is the Accept header of a browser.
const asBrowser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"

// built makes a folder with the files of a build of the console.
func built(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"index.html": "<title>console</title>", "assets/index-abc.js": "let a", "assets/index-abc.js.br": "brotli", "assets/style-def.css": "p{}"}
	maps.Copy(all, files)
	for name, text := range all {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestProgramsGetJSONAndBrowsersTheConsole(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"CONSOLE_DIR": built(t, nil)})
	for accept, want := range map[string]string{
		"": "json", "*/*": "json", "application/json": "json", "application/json, text/html;q=0.9": "json", "application/json, */*": "json",
		"image/png": "json", "text/html;q=0": "json", "text/html;q=0.1,application/json;q=0.2": "json",
		asBrowser: "html", "text/html": "html", "text/*": "html", "text/html, application/json;q=0.9": "html",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			r := g.do(method, "/", nil, map[string]string{"Accept": accept})
			if got := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || !strings.Contains(got, want) || !slices.Contains(r.Header.Values("Vary"), "Accept") {
				t.Errorf("%s with Accept %q: %s, %s, Vary %q", method, accept, r.Status, got, r.Header["Vary"])
			}
			if method == "HEAD" && len(r.text) > 0 {
				t.Errorf("HEAD has the body %q", r.text)
			}
			if method == "GET" && strings.Contains(string(r.text), `"sori-gateway"`) != (want == "json") {
				t.Errorf("Accept %q: %s", accept, r.text)
			}
		}
	}
}

func TestThePageOfTheConsoleIsRevalidatedAndHasAPolicy(t *testing.T) {
	t.Parallel()
	dir := built(t, nil)
	g := start(t, map[string]string{"CONSOLE_DIR": dir, "S3_PUBLIC_ENDPOINT": "https://s3.example.org:9000/"})
	browser := map[string]string{"Accept": asBrowser}
	r := g.do("GET", "/", nil, browser)
	policy, tag := r.Header.Get("Content-Security-Policy"), r.Header.Get("ETag")
	if string(r.text) != "<title>console</title>" || r.Header.Get("Cache-Control") != "no-cache" || r.Header.Get("X-Content-Type-Options") != "nosniff" || tag == "" {
		t.Errorf("%s: %s: %v", r.Status, r.text, r.Header)
	}
	if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; ") || strings.Contains(policy, "unsafe") ||
		!strings.Contains(policy, "media-src 'self' blob: https://s3.example.org:9000;") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("the policy is %s", policy)
	}
	browser["If-None-Match"] = `"x", ` + tag
	if r := g.do("GET", "/", nil, browser); r.StatusCode != http.StatusNotModified || len(r.text) > 0 {
		t.Errorf("known: %s", r.Status)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/console", "/console/"} {
		if r := g.do("GET", path, nil, browser); r.StatusCode != http.StatusOK || string(r.text) != "new" {
			t.Errorf("%s, built again: %s: %s", path, r.Status, r.text)
		}
	}
}

func TestTheConsoleIsToldHowItsUserSignsIn(t *testing.T) {
	t.Parallel()
	provider := map[string]string{"OIDC_ISSUER": "http://127.0.0.1:9/realms/sori", "OIDC_AUDIENCE": "sori"}
	withClient := func(more map[string]string) map[string]string {
		all := map[string]string{"OIDC_CLIENT_ID": "console"}
		maps.Copy(all, provider)
		maps.Copy(all, more)
		return all
	}
	const open, keys = `{"open":true,"api_keys":false,"oidc":null}`, `{"open":false,"api_keys":true,"oidc":null}`
	const connectSelf, connectProvider = "connect-src 'self';", "connect-src 'self' http://127.0.0.1:9;"
	for name, c := range map[string]struct {
		settings     map[string]string
		want, policy string
	}{
		"nobody signs in": {nil, open, connectSelf},
		"API keys":        {map[string]string{"AUTH_API_KEYS": "true"}, keys, connectSelf},
		"a secret":        {map[string]string{"AUTH_JWT_SECRET": jwtSecret}, keys, connectSelf},
		"a provider that does not know the console": {provider, keys, connectSelf},
		"a provider": {withClient(nil), `{"open":false,"api_keys":true,"oidc":{"issuer":"http://127.0.0.1:9/realms/sori","client_id":"console",` +
			`"scope":"openid profile offline_access","audience":"sori"}}`, connectProvider},
		"own scopes": {withClient(map[string]string{"OIDC_SCOPES": " openid  api://sori/jobs ", "BASE_PATH": "/api"}), `{"open":false,"api_keys":true,"oidc":{` +
			`"issuer":"http://127.0.0.1:9/realms/sori","client_id":"console","scope":"openid api://sori/jobs","audience":"sori"}}`, connectProvider},
	} {
		kit := testkit.New(t)
		kit.MigratedDatabase()
		vars := settings(kit, c.settings)
		vars["CONSOLE_DIR"] = built(t, nil)
		g := newEnv(t, kit, kit.Run(app.Run, vars))
		g.http.Prefix = vars["BASE_PATH"]
		g.url += vars["BASE_PATH"]
		if r := g.do("GET", "/console/config.json", nil, nil); r.StatusCode != http.StatusOK || string(r.text) != c.want {
			t.Errorf("%s: %s: %s", name, r.Status, r.text)
		}
		policy := g.do("GET", "/console", nil, nil).Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, c.policy) || !strings.Contains(policy, "form-action 'none'") {
			t.Errorf("%s: the policy is %s", name, policy)
		}
	}
}

func TestTheRootNamesTheSizeOfTheLargestRecording(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"MAX_UPLOAD_BYTES": "70000"})
	if r := g.do("GET", "/", nil, nil); !strings.Contains(string(r.text), `"max_upload_bytes":70000`) {
		t.Errorf("%s: %s", r.Status, r.text)
	}
}

func TestTheFilesOfTheConsoleMayBeCachedForEver(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"CONSOLE_DIR": built(t, nil)})
	for _, c := range []struct{ path, accept, body, mediaType, encoding string }{
		{"/console/assets/index-abc.js", "", "let a", "text/javascript; charset=utf-8", ""},
		{"/console/assets/index-abc.js", "gzip, br", "brotli", "text/javascript; charset=utf-8", "br"},
		{"/console/assets/index-abc.js", "gzip, br;q=0", "let a", "text/javascript; charset=utf-8", ""},
		{"/console/assets/style-def.css", "br", "p{}", "text/css; charset=utf-8", ""},
		{"/console/assets/style-def.css/", "", "p{}", "text/css; charset=utf-8", ""},
	} {
		// Without an Accept-Encoding header, net/http itself requests gzip.
		accept := c.accept
		if accept == "" {
			accept = "identity"
		}
		r := g.do("GET", c.path, nil, map[string]string{"Accept-Encoding": accept})
		if r.StatusCode != http.StatusOK || string(r.text) != c.body || r.Header.Get("Content-Type") != c.mediaType || r.Header.Get("Content-Encoding") != c.encoding {
			t.Errorf("%s, %q: %s: %q, %v", c.path, c.accept, r.Status, r.text, r.Header)
		}
		if r.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || r.Header.Get("Vary") != "Accept-Encoding" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", c.path, r.Header)
		}
		head := g.do("HEAD", c.path, nil, map[string]string{"Accept-Encoding": accept})
		if head.StatusCode != http.StatusOK || len(head.text) != 0 || head.ContentLength != int64(len(c.body)) {
			t.Errorf("HEAD %s: %s, %d bytes", c.path, head.Status, head.ContentLength)
		}
	}
}

func TestNothingOutsideTheConsoleIsRead(t *testing.T) {
	t.Parallel()
	dir := built(t, map[string]string{"secret.js": "secret", "assets/deep/secret.js": "secret", "assets/secret.env": "secret"})
	outside := filepath.Join(t.TempDir(), "secret.js")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "assets", "link.js")); err != nil {
		t.Fatal(err)
	}
	g := start(t, map[string]string{"CONSOLE_DIR": dir})
	for _, path := range []string{
		"/console/assets/../secret.js", "/console/assets/%2e%2e/secret.js", "/console/assets/..%2fsecret.js", "/console/assets/%2e%2e%2fsecret.js",
		"/console/assets/..%5csecret.js", "/console/assets/deep/secret.js", "/console/assets/deep%2fsecret.js", "/console/assets//secret.js",
		"/console/secret.js", "/console/../secret.js", "/console/assets/secret.env", "/console/assets/secret.js%00.js", "/console/assets/" + strings.Repeat("x", 300) + ".js",
		"/console/assets/none.js", "/console/assets/.js", "/console/assets/..", "/console/assets/deep", "/console/assets", "/console/index.html",
	} {
		g.problem(g.do("GET", path, nil, map[string]string{"Accept": asBrowser}), http.StatusNotFound, "route-not-found")
	}
	g.problem(g.do("GET", "/console/assets/link.js", nil, nil), http.StatusInternalServerError, "internal")
	g.problem(g.do("POST", "/console", nil, nil), http.StatusMethodNotAllowed, "method-not-allowed")
}

func TestWithoutABuildThePageSaysHowToBuildTheConsole(t *testing.T) {
	t.Parallel()
	later := filepath.Join(t.TempDir(), "dist")
	for name, dir := range map[string]string{"none": "", "missing": later} {
		g := start(t, map[string]string{"CONSOLE_DIR": dir})
		r := g.do("GET", "/", nil, map[string]string{"Accept": asBrowser})
		for _, want := range []string{"빌드되지 않았습니다", "is not built", "npm run build", "CONSOLE_DIR"} {
			if r.StatusCode != http.StatusOK || !strings.Contains(string(r.text), want) {
				t.Errorf("%s: %s lacks %q: %s", name, r.Status, want, r.text)
			}
		}
		if r.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v", name, r.Header)
		}
		g.problem(g.do("GET", "/console/assets/index-abc.js", nil, nil), http.StatusNotFound, "route-not-found")
		if r := g.do("GET", "/", nil, nil); !strings.Contains(string(r.text), `"sori-gateway"`) {
			t.Errorf("%s: programs get %s", name, r.text)
		}
		if dir == "" {
			continue
		}
		if err := os.Rename(built(t, nil), dir); err != nil {
			t.Fatal(err)
		}
		if r := g.do("GET", "/", nil, map[string]string{"Accept": asBrowser}); string(r.text) != "<title>console</title>" {
			t.Errorf("built meanwhile: %s", r.text)
		}
	}
}
