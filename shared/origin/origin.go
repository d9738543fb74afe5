// Package origin reads lists of web origins and matches the Origin header of
// requests against them.
//
// An entry of a list is one of:
//
//  1. An exact origin: https://app.example.com, http://localhost:3000, http://[::1]:3000.
//     The default port of the scheme may be written or left out.
//  2. A pattern for subdomains: https://*.example.com. The star stands for one label
//     or several; it does not match example.com itself.
//  3. A pattern for ports: http://localhost:*. The star stands for any port, the
//     default one included.
//  4. The origin of the pages in an app, with the scheme capacitor, ionic, app or tauri:
//     capacitor://localhost.
//  5. A single *, alone in its list: every origin.
//
// An entry has at most one star, since the CORS rules of S3 allow no more.
package origin

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"sori.internal/shared/config"
)

// Pattern is one entry of a list.
type Pattern struct {
	scheme    string // if it is empty, the pattern matches every origin
	host      string // host name in lower case; if subdomain is true, the end of the host name
	port      string // if it is empty, the default port of the scheme
	subdomain bool
	anyPort   bool
}

// List is a list of allowed origins. The setting is a comma-separated list.
type List []Pattern

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *List) UnmarshalText(text []byte) error {
	list, err := config.ParseList(text, func(entry string) (Pattern, error) {
		p, err := parsePattern(entry)
		if err != nil {
			return p, fmt.Errorf("%q is not an allowed origin: %w", entry, err)
		}
		return p, nil
	})
	*l = list
	if l.Any() && len(list) > 1 {
		err = errors.Join(err, errors.New("* allows every origin and must be the only entry"))
	}
	return err //nolint:wrapcheck // the error names the entries
}

// Any reports whether the list allows every origin.
func (l List) Any() bool {
	for _, p := range l {
		if p.scheme == "" {
			return true
		}
	}
	return false
}

// Allows reports whether the list allows the value of an Origin header. Only a list of every origin
// allows the opaque origin null.
func (l List) Allows(header string) bool {
	if l.Any() {
		return true
	}
	o, err := parse(header)
	if err != nil {
		return false
	}
	for _, p := range l {
		if p.matches(o) {
			return true
		}
	}
	return false
}

// S3 returns the list as the AllowedOrigin values of an S3 CORS rule. In S3 a star in place of the
// port does not match the default port, so the default port gets a value of its own.
func (l List) S3() []string {
	var values []string
	for _, p := range l {
		if p.anyPort {
			values = append(values, p.scheme+"://"+p.host)
		}
		values = append(values, p.String())
	}
	return values
}

// String returns the entry in its normalized form.
func (p Pattern) String() string {
	if p.scheme == "" {
		return "*"
	}
	text := p.scheme + "://"
	if p.subdomain {
		text += "*"
	}
	text += p.host
	switch {
	case p.anyPort:
		text += ":*"
	case p.port != "":
		text += ":" + p.port
	}
	return text
}

func (p Pattern) matches(o Pattern) bool {
	if p.scheme != o.scheme || !p.anyPort && p.port != o.port {
		return false
	}
	if p.subdomain {
		return len(o.host) > len(p.host) && strings.HasSuffix(o.host, p.host)
	}
	return p.host == o.host
}

// Same reports whether the value of an Origin header is the origin to which a request was sent.
// scheme and host describe that origin: scheme is empty if it is not known, and host contains the
// port unless it is the default port. The pages of an app never have that origin, although their host
// may have the same name: localhost.
func Same(header, scheme, host string) bool {
	o, err := parse(header)
	if err != nil || isApp(o.scheme) || scheme != "" && scheme != o.scheme {
		return false
	}
	target, err := parse(o.scheme + "://" + host)
	return err == nil && target == o
}

// ValidHost reports whether a text is a host name or an IP address, with or without a port, like
// the value of a Host header.
func ValidHost(host string) bool {
	_, err := parse("http://" + host)
	return err == nil
}

// parsePattern reads an entry of a list.
func parsePattern(entry string) (Pattern, error) {
	if entry == "*" {
		return Pattern{}, nil
	}
	if entry == "null" {
		return Pattern{}, errors.New("any site can send null, by a sandboxed frame")
	}
	plain := entry
	if !strings.HasSuffix(entry, "://") {
		plain = strings.TrimSuffix(entry, "/") // a slash at the end is a common mistake, and its meaning is clear
	}
	var p Pattern
	if cut, ok := strings.CutSuffix(plain, ":*"); ok {
		plain, p.anyPort = cut, true
	}
	if before, after, ok := strings.Cut(plain, "://*."); ok {
		if p.anyPort {
			return Pattern{}, errors.New("it may have one star only")
		}
		plain, p.subdomain = before+"://"+after, true
	}
	o, err := parse(plain)
	if err != nil {
		return Pattern{}, err
	}
	if p.anyPort && strings.Count(plain, ":") > 1 && !strings.HasSuffix(plain, "]") {
		return Pattern{}, errors.New("it has two ports")
	}
	o.anyPort, o.subdomain = p.anyPort, p.subdomain
	if !o.subdomain {
		return o, nil
	}
	if _, err := netip.ParseAddr(strings.Trim(o.host, "[]")); err == nil {
		return Pattern{}, errors.New("an IP address has no subdomains")
	}
	if !strings.Contains(o.host, ".") && o.host != "localhost" {
		return Pattern{}, errors.New("the star must stand before a domain such as example.com")
	}
	o.host = "." + o.host
	return o, nil
}

// isApp reports whether a scheme is that of the pages in an app. The frameworks Capacitor, Ionic,
// Cordova (all on iOS) and Tauri load the pages of an app from capacitor://localhost,
// ionic://localhost, app://localhost and tauri://localhost. Any other scheme is refused, since it is
// most likely a typing error.
func isApp(scheme string) bool {
	switch scheme {
	case "capacitor", "ionic", "app", "tauri":
		return true
	default:
		return false
	}
}

// parse reads an origin: a scheme, a host, an optional port, and nothing else (RFC 6454, section
// 6.2).
func parse(text string) (Pattern, error) {
	scheme, authority, ok := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" && !isApp(scheme) {
		return Pattern{}, errors.New("it must begin with http:// or https://, or for an app with capacitor://, ionic://, app:// or tauri://")
	}
	if strings.ContainsAny(authority, "/?#@") {
		return Pattern{}, errHost
	}
	host, port, err := splitPort(authority)
	if err != nil {
		return Pattern{}, err
	}
	if host, err = cleanHost(host); err != nil {
		return Pattern{}, err
	}
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		port = ""
	}
	return Pattern{scheme: scheme, host: host, port: port}, nil
}

func splitPort(authority string) (host, port string, err error) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") {
		return authority, "", nil
	}
	host, port = authority[:i], authority[i+1:]
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || port != strconv.FormatUint(n, 10) {
		return "", "", errors.New("the port must be a number from 1 to 65535, or in a list a star")
	}
	return host, port, nil
}

var errHost = errors.New("after the scheme it may have a host name and a port only; " +
	"a star stands for whole subdomains (https://*.example.com) or for the port (http://localhost:*); " +
	"an international name is written as browsers send it (xn--...)")

// maxHost is the length of the longest host name in DNS.
const maxHost = 253

// cleanHost returns a host name or an IP address in the normalized form that is compared.
func cleanHost(host string) (string, error) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(host, "]") {
			return "", errors.New("the host is no IPv6 address in brackets")
		}
		return "[" + addr.String() + "]", nil
	}
	if host == "" || len(host) > maxHost {
		return "", errors.New("the host must have 1 to 253 characters")
	}
	host = strings.ToLower(host)
	for label := range strings.SplitSeq(host, ".") {
		if !plainLabel(label) {
			return "", errHost
		}
	}
	return host, nil
}

func plainLabel(label string) bool {
	if label == "" || len(label) > 63 {
		return false
	}
	return strings.IndexFunc(label, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}) < 0
}
