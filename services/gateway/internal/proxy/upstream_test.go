package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestAnUpstreamGetsTheSamePathAndQuery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ base, path, want string }{
		{"http://t:1", "/a/b?x=1", "http://t:1/a/b?x=1"},
		{"http://t:1/", "/a%2Fb", "http://t:1/a%2Fb"},
		{"https://t/base/", "/a/../b", "https://t/base/a/../b"},
	} {
		base, _ := url.Parse(c.base)
		in, _ := url.ParseRequestURI(c.path)
		if got := NewUpstream(*base, "x").target(in).String(); got != c.want {
			t.Errorf("%s at %s is %s", c.path, c.base, got)
		}
	}
}

func TestHopByHopHeadersAreRemoved(t *testing.T) {
	t.Parallel()
	h := http.Header{
		"Connection": {"close, X-One", "x-two"}, "X-One": {"1"}, "X-Two": {"1"}, "Te": {"trailers"}, "Upgrade": {"x"},
		"Keep-Alive": {"1"}, "Transfer-Encoding": {"chunked"}, "Proxy-Authorization": {"x"}, "Expect": {"100-continue"}, "X-Kept": {"1"},
	}
	removeHopByHop(h, setByGateway)
	if len(h) != 1 || h.Get("X-Kept") != "1" {
		t.Errorf("kept %v", h)
	}
}

func TestTheErrorOfAnUnreachableUpstreamHasNoSecretAndNoLongPath(t *testing.T) {
	t.Parallel()
	u := NewUpstream(url.URL{Scheme: "http", Host: "127.0.0.1:0"}, "tracker")
	secret := strings.Repeat("5", 64)
	path := "/jobs/sori_0123456789abcdef_" + secret + strings.Repeat("a", 10_000)
	_, err := u.Forward(t.Context(), &http.Request{Method: http.MethodDelete, URL: &url.URL{Path: path}, Header: http.Header{}, Body: http.NoBody}) //nolint:bodyclose // it fails
	if err == nil || !strings.Contains(err.Error(), "DELETE /jobs/sori_0123456789abcdef_*") || strings.Contains(err.Error(), secret) || len(err.Error()) > 1000 {
		t.Errorf("%v", err)
	}
}
