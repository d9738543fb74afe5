package httpserver

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/origin"
)

// Hosts are the names by which clients may request the gateway.
//
// The threat is DNS rebinding. A page of another site makes its own name resolve to the address of
// the gateway. For the browser, the page and the gateway then have the same origin, so that neither
// CORS nor Sec-Fetch-Site protects the gateway. Only the Host header shows that the page requested
// another name.
//
// The setting is a comma-separated list. An entry is a host name or an IP address without a port,
// *.example.com for every subdomain, or * for every name.
type Hosts []string

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hosts) UnmarshalText(text []byte) error {
	list, err := config.ParseList(text, func(entry string) (string, error) {
		name, isPattern := strings.CutPrefix(entry, "*.")
		if entry == "*" {
			return entry, nil
		}
		host, ok := hostName(name)
		if !ok || portOf(name) != "" || isPattern && net.ParseIP(host) != nil {
			return "", fmt.Errorf("%q is no host: it must be a name or an IP address without a port, or *.example.com", entry)
		}
		if isPattern {
			return "*." + host, nil
		}
		return host, nil
	})
	*h = list
	return err //nolint:wrapcheck // err contains the invalid entries
}

// hostRule decides by which host names clients may request the gateway.
type hostRule struct {
	allowed Hosts
	any     bool
}

// newHostRule makes the rule of a server that listens on an address. Without a setting, a server on
// a loopback address accepts only the names of this machine, and any other server accepts every
// name: it cannot know its own.
func newHostRule(allowed Hosts, listening net.Addr) hostRule {
	tcp, isTCP := listening.(*net.TCPAddr)
	loopback := isTCP && tcp.IP.IsLoopback()
	return hostRule{allowed: allowed, any: len(allowed) == 0 && !loopback}
}

// check refuses a request that was sent to another host. Host is always checked: a page can set the
// headers of a proxy, but not Host. If the target of the request is a URL, its host is checked too,
// since it replaces Host (RFC 9112, section 3.2.2). If the operator lists hosts, the host that a
// trusted proxy forwards must be in the list too. A request of HTTP/1.0 without Host is not from a
// browser, and is allowed.
func (r hostRule) check(c *fasthttp.RequestCtx, p publicURL) error {
	requested := []string{string(c.Request.Header.Host()), string(c.Host())}
	if len(r.allowed) > 0 {
		requested = append(requested, p.forwarded.Host)
	}
	for _, host := range requested {
		if host != "" && !r.allows(host) {
			return fault.New(fault.Misdirected, "host-not-allowed",
				"This host is not served here. The operator allows hosts by ALLOWED_HOSTS.")
		}
	}
	return nil
}

func (r hostRule) allows(host string) bool {
	if r.any {
		return true
	}
	name, ok := hostName(host)
	if !ok {
		return false
	}
	if isLocal(name) {
		return true
	}
	for _, entry := range r.allowed {
		if entry == "*" || entry == name {
			return true
		}
		if domain, isPattern := strings.CutPrefix(entry, "*"); isPattern && len(name) > len(domain) && strings.HasSuffix(name, domain) {
			return true
		}
	}
	return false
}

// isLocal reports whether a name always means this machine: a loopback address, localhost, or a
// name under it (RFC 6761, section 6.3).
func isLocal(name string) bool {
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// hostName returns the name or the address in a Host header, in lower case, without its port, its
// brackets and a final dot.
func hostName(host string) (string, bool) {
	if port := portOf(host); port != "" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	bare := host
	if inner, ok := strings.CutPrefix(host, "["); ok {
		bare, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return "", false
		}
	}
	if addr, err := netip.ParseAddr(bare); err == nil {
		return addr.String(), true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host, origin.ValidHost(host)
}

// portOf returns the port of a host, empty if it has none.
func portOf(host string) string {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.Contains(host[:i], ":") && !strings.HasSuffix(host[:i], "]") {
		return "" // no port, or an IPv6 address without brackets
	}
	return host[i+1:]
}
