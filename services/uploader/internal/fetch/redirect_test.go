package fetch

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/source"
)

func TestARedirectIsFollowedAndGetsNoSecretOfAnotherOrigin(t *testing.T) {
	t.Parallel()
	var got http.Header
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		_, _ = w.Write([]byte("sound"))
	})
	var own http.Header
	first := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			http.Redirect(w, r, "/second?sig=s3cret", http.StatusFound)
			return
		}
		own = r.Header.Clone()
		http.Redirect(w, r, target+"/a", http.StatusTemporaryRedirect)
	})
	src := source.Source{URL: first + "/first?sig=s3cret", Header: map[string]string{"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "User-Agent": "s3cret"}}
	if o := fetchFrom(t, New(loopback(t)), src); o.err != nil || string(o.body) != "sound" {
		t.Fatal(o.err)
	}
	if own.Get("X-Api-Key") != "s3cret" || own.Get("Authorization") != "Bearer s3cret" || own.Get("Referer") != "" {
		t.Errorf("the same origin got %v", own)
	}
	for name, values := range got {
		if strings.Contains(strings.Join(values, ""), "s3cret") {
			t.Errorf("another origin got %s", name)
		}
	}
}

func TestAnOriginIsTheSameHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	of := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for to, same := range map[string]bool{
		"https://media.example/b": true, "https://media.example:443/b": true, "https://Media.Example/b": true,
		"https://media.example:8443/b": false, "https://other.example/b": false,
		"https://media.example.evil.example/b": false,
	} {
		first, next := &http.Request{URL: of("https://media.example/a")}, &http.Request{URL: of(to), Header: http.Header{"Authorization": {"Bearer s3cret"}}}
		if err := checkRedirect(source.Allowed{}, next, []*http.Request{first}); err != nil {
			t.Errorf("%s: %v", to, err)
		}
		if kept := next.Header.Get("Authorization") != ""; kept != same {
			t.Errorf("%s: the header is sent: %t", to, kept)
		}
	}
}

func TestARedirectIsCheckedLikeAURL(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	private := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	port := private[strings.LastIndex(private, ":")+1:]
	for to, want := range map[string]string{
		"http://127.0.0.2:" + port + "/":           event.CodeFetchRefused + " 0",
		"http://[::ffff:127.0.0.2]:" + port + "/":  event.CodeFetchRefused + " 0",
		"http://169.254.169.254/latest/meta-data/": event.CodeFetchRefused + " 0",
		"http://10.0.0.1/":                         event.CodeFetchRefused + " 0",
		"http://user:password@127.0.0.1:" + port:   event.CodeFetchRefused + " 0",
		"http://93.184.216.34:22/":                 event.CodeFetchRefused + " 0",
		"ftp://127.0.0.1/a":                        event.CodeFetchRefused + " 0",
		"file:///etc/passwd":                       event.CodeFetchRefused + " 0",
		"s3://ingest/a.wav":                        event.CodeFetchRefused + " 0",
		"/again":                                   "fetch-failed 302", // for ever
	} {
		o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		})})
		if o.code() != want || len(o.failed) > 0 {
			t.Errorf("%s: %s, tries %q", to, o.code(), o.failed)
		}
	}
	if reached.Load() > 0 {
		t.Error("a private server was reached")
	}
}

// net/http puts a Location that it cannot parse into its error, which is logged. The Location may be a
// presigned URL.
func TestAMalformedRedirectIsFinalAndNotLogged(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		for _, to := range []string{"http://[/a?sig=s3cret", "http://a%zz/?sig=s3cret", "http://a\\b/?sig=s3cret", "https://u:s3cret@%/", "http://a:port/?sig=s3cret", ":s3cret"} {
			o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", to)
				w.WriteHeader(status)
			})})
			if want := fmt.Sprint("fetch-failed ", status); o.code() != want || len(o.failed) > 0 || o.body != nil {
				t.Errorf("%d %s: %s, tries %q", status, to, o.code(), o.failed)
			}
			if strings.Contains(fmt.Sprint(o.err), "s3cret") {
				t.Errorf("%d %s: %v", status, to, o.err)
			}
		}
	}
}

func TestARedirectFromHTTPSToHTTPIsNotFollowed(t *testing.T) {
	t.Parallel()
	plain := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the target was reached") })
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain, http.StatusFound)
	}))
	t.Cleanup(s.Close)
	c := New(loopback(t))
	trust(t, c, s)
	if o := fetchFrom(t, c, source.Source{URL: s.URL}); o.code() != "fetch-failed 302" {
		t.Error(o.code())
	}
}

// trust makes a client accept the certificate of a test server.
func trust(t *testing.T, c *Client, s *httptest.Server) {
	t.Helper()
	via, ok := c.http.Transport.(locationChecker)
	if !ok {
		t.Fatal("another transport")
	}
	via.TLSClientConfig = &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12} //nolint:forcetypeassert // the client of an httptest.Server has this transport
}

func TestTheEnvironmentNamesNoProxy(t *testing.T) {
	var reached atomic.Int64
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	t.Setenv("HTTP_PROXY", proxy)
	t.Setenv("ALL_PROXY", proxy)
	via, _ := New(loopback(t)).http.Transport.(locationChecker)
	if via.Proxy != nil {
		u, err := via.Proxy(&http.Request{URL: &url.URL{Scheme: "http", Host: "example.com"}})
		t.Errorf("%v %v", u, err)
	}
	if o := fetchFrom(t, New(Options{Tries: 1, Idle: time.Second}), source.Source{URL: "http://127.0.0.1/a"}); o.code() != event.CodeFetchRefused+" 0" || reached.Load() > 0 {
		t.Error(o.code())
	}
}
