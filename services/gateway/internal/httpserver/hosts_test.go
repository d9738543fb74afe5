package httpserver

import (
	"net"
	"testing"
)

func TestOnALoopbackAddressOnlyNamesOfThisMachineAndListedHostsAreServed(t *testing.T) {
	t.Parallel()
	var listed Hosts
	if err := listed.UnmarshalText([]byte("sori.example.com, *.example.org, 192.0.2.7, 2001:db8::1")); err != nil {
		t.Fatal(err)
	}
	loopback, everywhere := &net.TCPAddr{IP: net.ParseIP("127.0.0.1")}, &net.TCPAddr{IP: net.IPv6unspecified}
	local := []string{"localhost", "LOCALHOST:8000", "console.localhost:80", "127.0.0.1:8000", "127.9.8.7", "[::1]:8000", "[::1]", "localhost."}
	names := []string{
		"sori.example.com", "Sori.Example.com:8443", "sori.example.com.", "a.example.org", "a.b.example.org:1", "192.0.2.7:80", "[2001:db8::1]:80",
		"[2001:DB8:0:0::1]",
	}
	others := []string{
		"evil.net", "evil.net:8000", "example.org", "notexample.org", "sori.example.com.evil.net", "localhost.evil.net", "evillocalhost",
		"192.0.2.8", "[2001:db8::2]", "127.0.0.1.evil.net", "local host", "localhost/", "[::1", "a:b:c", "x@localhost", "localhost:8000:1",
	}
	for _, c := range []struct {
		name    string
		rule    hostRule
		hosts   []string
		allowed bool
	}{
		{"local names, no setting", newHostRule(nil, loopback), local, true},
		{"listed names, no setting", newHostRule(nil, loopback), names, false},
		{"other names, no setting", newHostRule(nil, loopback), others, false},
		{"local names, listed", newHostRule(listed, loopback), local, true},
		{"listed names, listed", newHostRule(listed, loopback), names, true},
		{"other names, listed", newHostRule(listed, loopback), others, false},
		{"other names, no setting, elsewhere", newHostRule(nil, everywhere), others, true},
		{"other names, listed, elsewhere", newHostRule(listed, everywhere), others, false},
		{"other names, a star", newHostRule(Hosts{"*"}, loopback), []string{"evil.net"}, true},
	} {
		for _, host := range c.hosts {
			if got := c.rule.allows(host); got != c.allowed {
				t.Errorf("%s: %s is allowed: %t", c.name, host, got)
			}
		}
	}
}

func TestAnEntryOfTheHostsThatIsNoHostIsAnError(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{"https://example.com", "example.com:8000", "[::1]:8000", "a b", "*.", "*.127.0.0.1", "a.*.com", "example.com/x"} {
		var h Hosts
		if err := h.UnmarshalText([]byte("ok.example.com," + entry)); err == nil {
			t.Errorf("%s is accepted as %q", entry, h)
		}
	}
}
