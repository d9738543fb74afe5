package origin_test

import (
	"slices"
	"strings"
	"testing"

	"sori.internal/shared/origin"
)

func list(t *testing.T, text string) origin.List {
	t.Helper()
	var l origin.List
	if err := l.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnOriginIsAllowedExactlyWhereTheListSaysSo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		list    string
		allowed []string
		refused []string
	}{
		{
			list:    "https://app.example.com",
			allowed: []string{"https://app.example.com", "https://app.example.com:443", "https://APP.Example.COM"},
			refused: []string{
				"", "null", "http://app.example.com", "https://app.example.com:8443", "https://example.com", "https://app.example.com.evil.net",
				"https://evilapp.example.com", "https://app.example.com/", "https://app.example.com@evil.net", "https://x@app.example.com",
				"https://app.example.com:443:1", "https://app.example.com ", "https://app.example.com, https://app.example.com",
				"https://app.example.com?x", "https://app.example.com#x", "https://app.example.com\\.evil.net", "https://app.example.com.", "//app.example.com",
			},
		},
		{
			list:    "HTTPS://Shop.Example.com:443/, http://example.org:80",
			allowed: []string{"https://shop.example.com", "http://example.org", "http://example.org:80"},
			refused: []string{"https://shop.example.com:80", "http://example.org:443", "https://example.org"},
		},
		{
			list:    "https://*.example.com",
			allowed: []string{"https://a.example.com", "https://a.b.example.com", "https://A.EXAMPLE.com", "https://a.example.com:443"},
			refused: []string{
				"https://example.com", "https://.example.com", "https://evilexample.com", "https://a.example.com.evil.net", "https://a.example.com:444",
				"http://a.example.com", "https://a..example.com", "https://evil.net/.example.com", "https://evil.net?.example.com", "https://*.example.com",
			},
		},
		{
			list:    "https://*.example.com:8443",
			allowed: []string{"https://a.example.com:8443"},
			refused: []string{"https://a.example.com"},
		},
		{
			list:    "http://localhost:*,http://127.0.0.1:*,http://[::1]:*",
			allowed: []string{"http://localhost:3000", "http://localhost", "http://localhost:1", "http://127.0.0.1:65535", "http://[::1]:5173", "http://[0:0:0:0:0:0:0:1]:5173"},
			refused: []string{
				"https://localhost:3000", "http://localhost.evil.net:3000", "http://localhost:3000.evil.net", "http://localhost:0", "http://localhost:99999",
				"http://localhost:03000", "http://localhost:", "http://127.0.0.2:80", "http://127.0.0.1.evil.net:80", "http://::1:5173", "http://[::1]x:5173", "http://[::1", "http://[::1%25eth0]:1",
			},
		},
		{list: "http://[2001:DB8::1]:3000", allowed: []string{"http://[2001:db8::1]:3000", "http://[2001:db8:0:0::1]:3000"}, refused: []string{"http://[2001:db8::1]", "http://[2001:db8::2]:3000"}},
		{list: "http://*.localhost", allowed: []string{"http://one.localhost"}, refused: []string{"http://localhost"}},
		{list: "https://xn--9i1bk1k.kr", allowed: []string{"https://xn--9i1bk1k.kr"}, refused: []string{"https://예시.kr"}},
		{
			list:    "capacitor://localhost, Ionic://localhost,tauri://localhost,app://localhost",
			allowed: []string{"capacitor://localhost", "ionic://localhost", "tauri://localhost", "app://localhost"},
			refused: []string{"capacitor://localhost:80", "capacitor://localhost.evil.net", "capacitor://", "http://localhost", "https://localhost", "file://localhost"},
		},
		{list: "http://localhost", allowed: []string{"http://localhost"}, refused: []string{"capacitor://localhost"}},
		{list: "*", allowed: []string{"https://a", "null", "", "file://"}},
		{list: " , ", refused: []string{"https://a", "null", ""}},
	} {
		l := list(t, c.list)
		for _, o := range c.allowed {
			if !l.Allows(o) {
				t.Errorf("%s does not allow %q", c.list, o)
			}
		}
		for _, o := range c.refused {
			if l.Allows(o) {
				t.Errorf("%s allows %q", c.list, o)
			}
		}
	}
}

func TestABadEntryIsRefusedByName(t *testing.T) {
	t.Parallel()
	for entry, reason := range map[string]string{
		"null":                        "sandboxed",
		"localhost:3000":              "must begin with http",
		"app.example.com":             "must begin with http",
		"ftp://example.com":           "must begin with http",
		"htps://example.com":          "must begin with http",
		"*://example.com":             "must begin with http",
		"https://":                    "1 to 253",
		"https://*":                   "star",
		"https://*.com":               "such as example.com",
		"https://*.*.example.com":     "star",
		"https://a*.example.com":      "star",
		"https://example.*":           "star",
		"https://*.example.com:*":     "one star only",
		"https://*.127.0.0.1":         "no subdomains",
		"https://*.[::1]":             "no subdomains",
		"https://example.com/app":     "host name and a port only",
		"https://me@example.com":      "host name and a port only",
		"https://example.com?x=1":     "host name and a port only",
		"https://예시.kr":               "xn--",
		"https://example.com:0":       "the port must be",
		"https://example.com:123456":  "the port must be",
		"https://example.com:http":    "the port must be",
		"https://example.com:80:*":    "two ports",
		"http://::1":                  "host name and a port only",
		"http://[::1%eth0]":           "no IPv6 address",
		"http://[127.0.0.1]":          "no IPv6 address",
		"https://a b":                 "host name and a port only",
		"https://" + longLabel + ".a": "host name and a port only",
	} {
		var l origin.List
		err := l.UnmarshalText([]byte("https://good.example.com," + entry))
		if err == nil || !strings.Contains(err.Error(), reason) || !strings.Contains(err.Error(), entry) || strings.Contains(err.Error(), "good") {
			t.Errorf("%s: %v does not say %q", entry, err, reason)
		}
	}
	var l origin.List
	if err := l.UnmarshalText([]byte("*,https://a.example.com")); err == nil || !strings.Contains(err.Error(), "only entry") {
		t.Errorf("a star among others: %v", err)
	}
}

const longLabel = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestTheSameOriginIsKnownByHostAndScheme(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header, scheme, host string
		same                 bool
	}{
		{"http://a.example.com", "", "a.example.com", true},
		{"https://a.example.com", "", "a.example.com", true}, // without a scheme, both match: a proxy that does not forward the scheme may have terminated TLS
		{"https://a.example.com", "", "A.example.com:443", true},
		{"https://a.example.com", "https", "a.example.com", true},
		{"http://a.example.com", "https", "a.example.com", false},
		{"http://a.example.com:8080", "", "a.example.com:8080", true},
		{"http://a.example.com:8080", "", "a.example.com", false},
		{"http://a.example.com", "", "a.example.com.evil.net", false},
		{"http://[::1]:8000", "", "[::1]:8000", true},
		{"capacitor://localhost", "", "localhost", false},
		{"capacitor://localhost", "capacitor", "localhost", false},
		{"null", "", "null", false},
		{"", "", "", false},
		{"http://", "", "", false},
	} {
		if got := origin.Same(c.header, c.scheme, c.host); got != c.same {
			t.Errorf("%q at %s://%s: %v", c.header, c.scheme, c.host, got)
		}
	}
}

func TestAListBecomesTheOriginsOfAnS3Rule(t *testing.T) {
	t.Parallel()
	got := list(t, "http://LOCALHOST:*, https://*.example.com, https://a.example.org:443, capacitor://localhost").S3()
	want := []string{"http://localhost", "http://localhost:*", "https://*.example.com", "https://a.example.org", "capacitor://localhost"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
}

func FuzzNoOriginOfAnotherHostIsAllowed(f *testing.F) {
	for _, seed := range []string{"https://a.example.com", "https://a.example.com.evil.net", "https://example.com@evil", "http://[::1]:1"} {
		f.Add(seed)
	}
	var l origin.List
	if err := l.UnmarshalText([]byte("https://*.example.com")); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if !l.Allows(header) {
			return
		}
		rest, ok := strings.CutPrefix(strings.ToLower(header), "https://")
		rest = strings.TrimSuffix(rest, ":443")
		if !ok || !strings.HasSuffix(rest, ".example.com") || strings.ContainsAny(rest, "/@?#\\ :") {
			t.Errorf("%q is allowed", header)
		}
	})
}
