package forwarded_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"sori.internal/services/gateway/internal/forwarded"
)

func proxies(t *testing.T, text string) forwarded.Proxies {
	t.Helper()
	var p forwarded.Proxies
	if err := p.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPeerIsTrustedIfTheListHasItsAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		list               string
		trusted, untrusted []string
	}{
		{"", nil, []string{"127.0.0.1", "::1", "10.0.0.1"}},
		{"loopback", []string{"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"}, []string{"10.0.0.1", "::2"}},
		{"private", []string{"10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "fd00::1", "::ffff:10.0.0.1"}, []string{"127.0.0.1", "172.32.0.1", "11.0.0.1", "2001:db8::1"}},
		{"203.0.113.7, 2001:db8::/32", []string{"203.0.113.7", "2001:db8:1::1"}, []string{"203.0.113.8", "2001:db9::1"}},
		{"10.1.2.3/16,::ffff:192.0.2.1", []string{"10.1.0.1", "192.0.2.1"}, []string{"10.2.0.1"}},
	} {
		p := proxies(t, c.list)
		for _, a := range c.trusted {
			if !p.Trust(&net.TCPAddr{IP: net.ParseIP(a), Port: 1}) {
				t.Errorf("%q does not trust %s", c.list, a)
			}
		}
		for _, a := range c.untrusted {
			if p.Trust(&net.TCPAddr{IP: net.ParseIP(a), Port: 1}) {
				t.Errorf("%q trusts %s", c.list, a)
			}
		}
	}
	if proxies(t, "0.0.0.0/0").Trust(&net.UnixAddr{Name: "/x"}) {
		t.Error("an address that is no IP address is trusted")
	}
}

func TestTheClientIsTheLastHopThatIsNoProxy(t *testing.T) {
	t.Parallel()
	peer := &net.TCPAddr{IP: net.ParseIP("10.0.0.1"), Port: 1}
	for hops, want := range map[string]string{
		"": "10.0.0.1", "203.0.113.7": "203.0.113.7", "198.51.100.1, 203.0.113.7": "203.0.113.7", "203.0.113.7, 10.0.0.2": "203.0.113.7",
		"203.0.113.7:4711": "203.0.113.7", "[2001:db8::1]:4711": "2001:db8::1", "[2001:db8::1]": "2001:db8::1", "2001:db8::1": "2001:db8::1",
		"203.0.113.7:4711,10.0.0.2:80": "203.0.113.7", "::ffff:203.0.113.7": "203.0.113.7", "203.0.113.7, unknown": "10.0.0.1", "203.0.113.7,": "10.0.0.1",
	} {
		if got := proxies(t, "private").Client(peer, hops); got.String() != want {
			t.Errorf("%q: the client is %s, not %s", hops, got, want)
		}
	}
	if got := proxies(t, "").Client(peer, "203.0.113.7"); got.String() != "10.0.0.1" {
		t.Errorf("a peer that is not trusted has chosen %s", got)
	}
}

func TestABadProxyIsRefusedByName(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{"*", "all", "10.0.0.0/33", "proxy.example.com", "10.0.0", "10.0.0.1:80", "Private"} {
		var p forwarded.Proxies
		err := p.UnmarshalText([]byte("loopback," + entry))
		if err == nil || !strings.Contains(err.Error(), `"`+entry+`" is no trusted proxy`) {
			t.Errorf("%s: %v", entry, err)
		}
	}
}

func TestHeadersAreReadIfTheProxyIsTrustedAndTheyAreValid(t *testing.T) {
	t.Parallel()
	local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for _, c := range []struct {
		name   string
		header http.Header
		want   forwarded.Request
	}{
		{"nothing", http.Header{}, forwarded.Request{}},
		{"all", http.Header{"X-Forwarded-Proto": {"HTTPS"}, "X-Forwarded-Host": {"api.example.com:8443"}, "X-Forwarded-Prefix": {"/a/b/"}},
			forwarded.Request{Scheme: "https", Host: "api.example.com:8443", Prefix: "/a/b"}},
		{"the last of several", http.Header{"X-Forwarded-Proto": {"http, https"}, "X-Forwarded-Host": {"evil.net, b.example.com", "evil.net,c.example.com"}, "X-Forwarded-Prefix": {"/evil,/good"}},
			forwarded.Request{Scheme: "https", Host: "c.example.com", Prefix: "/good"}},
		{"an IPv6 host", http.Header{"X-Forwarded-Host": {"[::1]:8080"}}, forwarded.Request{Host: "[::1]:8080"}},
		{"the root", http.Header{"X-Forwarded-Prefix": {"/"}}, forwarded.Request{}},
		{"no scheme", http.Header{"X-Forwarded-Proto": {"javascript"}}, forwarded.Request{}},
		{"Forwarded", http.Header{"Forwarded": {"host=evil.net;proto=https"}}, forwarded.Request{}},
	} {
		if got := proxies(t, "loopback").Read(local, c.header.Values); got != c.want {
			t.Errorf("%s: %+v, not %+v", c.name, got, c.want)
		}
		if got := proxies(t, "private").Read(local, c.header.Values); got != (forwarded.Request{}) {
			t.Errorf("%s, not trusted: %+v", c.name, got)
		}
	}
	hosts := []string{"evil.net/", "a b", "a@b", "a\r\nb", "<a>", "a:b", "a:0", "", "a..b", `"a"`, "a#b", "a?b", "http://a", "예시.kr"}
	prefixes := []string{"//evil.net", "evil", "/a//b", "/a/../b", "/.", "/a b", "/a?b", "/a#b", `/"><script>`, "/%2e%2e", `/\evil.net`, "/a;b", "http://evil.net", "/" + strings.Repeat("a", 300), "/예"}
	for _, h := range hosts {
		if got := proxies(t, "loopback").Read(local, http.Header{"X-Forwarded-Host": {h}}.Values); got != (forwarded.Request{}) {
			t.Errorf("the host %q is taken: %+v", h, got)
		}
	}
	for _, p := range prefixes {
		if got := proxies(t, "loopback").Read(local, http.Header{"X-Forwarded-Prefix": {p}}.Values); got != (forwarded.Request{}) {
			t.Errorf("the prefix %q is taken: %+v", p, got)
		}
	}
}
