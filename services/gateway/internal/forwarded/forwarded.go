// Package forwarded reads the headers that proxies in front of the gateway set: X-Forwarded-For,
// X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-Prefix.
//
// The rules:
//
//  1. Only the headers of a trusted proxy are used. Any other peer could send the same headers.
//  2. If a header has several values, the last one is used, which the trusted proxy itself added.
//     The values before it may come from the client.
//  3. A value that is not exactly a scheme, a host or a path prefix is ignored. So no value can
//     inject markup into a page, or lead a client to another site.
//  4. The Forwarded header (RFC 7239) is not read. Most proxies do not set it, and forward it as
//     the client sent it.
package forwarded

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"sori.internal/shared/config"
	"sori.internal/shared/origin"
)

// Proxies are the trusted proxies. The setting is a comma-separated list of addresses, CIDR blocks,
// and the words loopback and private.
type Proxies []netip.Prefix

// namedBlocks returns the address blocks of the words loopback and private; nil for other words.
func namedBlocks(word string) []netip.Prefix {
	switch word {
	case "loopback":
		return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	case "private":
		return []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
			netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fc00::/7"),
		}
	default:
		return nil
	}
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Proxies) UnmarshalText(text []byte) error {
	list, err := config.ParseList(text, parseBlocks)
	*p = slices.Concat(list...)
	return err //nolint:wrapcheck // err contains the invalid entries
}

func parseBlocks(entry string) ([]netip.Prefix, error) {
	if blocks := namedBlocks(entry); blocks != nil {
		return blocks, nil
	}
	block, err := parseBlock(entry)
	if err != nil {
		return nil, fmt.Errorf("%q is no trusted proxy: it must be an IP address, a CIDR block such as 10.1.0.0/16, loopback or private", entry)
	}
	return []netip.Prefix{block}, nil
}

func parseBlock(entry string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(entry); err == nil {
		addr = addr.Unmap()
		return addr.Prefix(addr.BitLen()) //nolint:wrapcheck // the caller adds the entry to the error
	}
	block, err := netip.ParsePrefix(entry)
	return block.Masked(), err //nolint:wrapcheck // as above
}

// Trust reports whether a peer is a trusted proxy.
func (p Proxies) Trust(peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	return ok && p.contains(plain(tcp.AddrPort().Addr()))
}

// plain returns an address without its zone. It converts an IPv4-mapped IPv6 address to the IPv4
// address.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// Client returns the address of the client of a request. If the peer is not a trusted proxy, it is
// the client itself. hops is the value of X-Forwarded-For: addresses separated by commas, to which
// each proxy appends the address of its peer. Searched from the end, the first address that is not
// a trusted proxy is the client. A text that is not an address ends the search.
func (p Proxies) Client(peer net.Addr, hops string) netip.Addr {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	client := plain(tcp.AddrPort().Addr())
	for hops != "" && p.contains(client) {
		i := strings.LastIndexByte(hops, ',')
		addr, err := parseHop(strings.TrimSpace(hops[i+1:]))
		if err != nil {
			break
		}
		client, hops = plain(addr), hops[:max(i, 0)]
	}
	return client
}

// parseHop parses an address in X-Forwarded-For. Some proxies add the port, or brackets.
func parseHop(text string) (netip.Addr, error) {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr(), nil
	}
	return netip.ParseAddr(strings.Trim(text, "[]")) //nolint:wrapcheck // the caller checks only whether there is an error
}

func (p Proxies) contains(addr netip.Addr) bool {
	for _, block := range p {
		if block.Contains(addr) {
			return true
		}
	}
	return false
}

// Request has the parts of the URL that the client requested, as a trusted proxy reports them. A
// field is empty if no trusted proxy sends it.
type Request struct {
	Scheme string // http or https
	Host   string // with its port, unless it is the default port of the scheme
	Prefix string // path prefix that a proxy has removed, without a trailing slash
}

// Header returns the lines of a header.
type Header func(name string) []string

// Read parses the headers of a request. It ignores them if the peer is not a trusted proxy.
func (p Proxies) Read(peer net.Addr, header Header) Request {
	var r Request
	if !p.Trust(peer) {
		return r
	}
	if scheme := strings.ToLower(last(header("X-Forwarded-Proto"))); scheme == "http" || scheme == "https" {
		r.Scheme = scheme
	}
	if host := last(header("X-Forwarded-Host")); origin.ValidHost(host) {
		r.Host = host
	}
	if prefix, ok := CleanPrefix(last(header("X-Forwarded-Prefix"))); ok {
		r.Prefix = prefix
	}
	return r
}

func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	line := lines[len(lines)-1]
	return strings.TrimSpace(line[strings.LastIndexByte(line, ',')+1:])
}

// maxPrefix is the largest length of a path prefix, in bytes.
const maxPrefix = 256

// CleanPrefix returns a path prefix without its trailing slash. It returns false if the text is not
// a path prefix: a prefix begins with one slash, and its segments have only unreserved characters.
// The root is the empty prefix.
func CleanPrefix(text string) (string, bool) {
	text = strings.TrimSuffix(text, "/")
	if text == "" {
		return "", true
	}
	if text[0] != '/' || len(text) > maxPrefix {
		return "", false
	}
	for segment := range strings.SplitSeq(text[1:], "/") {
		if segment == "" || segment == "." || segment == ".." || strings.IndexFunc(segment, reserved) >= 0 {
			return "", false
		}
	}
	return text, true
}

// reserved reports whether a character is not an unreserved character of a URL.
func reserved(c rune) bool {
	return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("-._~", c)
}
