// Package forwarded reads what proxies in front of the gateway say about the
// request that they received: X-Forwarded-Proto, X-Forwarded-Host and
// X-Forwarded-Prefix.
//
// The rules:
//
//  1. Only a peer on the list of trusted proxies is believed. Anybody else could
//     send the same headers.
//  2. Of several values the last one counts, which the trusted peer itself added.
//     What stands before it may come from the client.
//  3. A value that is not exactly a scheme, a host or a path prefix is ignored. So
//     no such value can lead a client, or a page, to another site's markup or URL.
//  4. The Forwarded header (RFC 7239) is not read: proxies pass a client's own on
//     far more often than they set it.
package forwarded

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"sori.internal/shared/origin"
)

// Proxies are the peers that are trusted. As a setting they are written with
// commas: addresses, CIDR blocks, and the words loopback and private.
type Proxies []netip.Prefix

// words are names for blocks of addresses that no router of the internet takes.
func words(word string) []netip.Prefix {
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
	var (
		list   Proxies
		broken []error
	)
	for entry := range strings.SplitSeq(string(text), ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		if blocks := words(entry); blocks != nil {
			list = append(list, blocks...)
			continue
		}
		block, err := parseBlock(entry)
		if err != nil {
			broken = append(broken, fmt.Errorf("%q is no trusted proxy: it must be an IP address, a CIDR block such as 10.1.0.0/16, loopback or private", entry))
			continue
		}
		list = append(list, block)
	}
	*p = list
	return errors.Join(broken...)
}

func parseBlock(entry string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(entry); err == nil {
		addr = addr.Unmap()
		return addr.Prefix(addr.BitLen()) //nolint:wrapcheck // the caller says what it read
	}
	block, err := netip.ParsePrefix(entry)
	return block.Masked(), err //nolint:wrapcheck // as above
}

// Trust reports whether a peer is a trusted proxy.
func (p Proxies) Trust(peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, block := range p {
		if block.Contains(addr) {
			return true
		}
	}
	return false
}

// Request is what the client asked the outermost known proxy for. A member is
// empty where no trusted proxy says so.
type Request struct {
	Scheme string // http or https
	Host   string // with its port, where that is not the scheme's default one
	Prefix string // a path without a slash at its end, which a proxy has cut off
}

// Header returns the lines of a header.
type Header func(name string) []string

// Read reads what a peer says, if it is a trusted proxy.
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

// maxPrefix bounds a path prefix, in bytes.
const maxPrefix = 256

// CleanPrefix returns a path prefix without the slash at its end, or false where
// the text is none: it begins with one slash, and its segments are plain words of
// unreserved characters. The root is the empty prefix.
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

// reserved reports whether a character is not one of the unreserved ones of a URL.
func reserved(c rune) bool {
	return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("-._~", c)
}
