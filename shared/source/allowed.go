package source

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"code.dny.dev/ssrf"

	"sori.internal/shared/config"
)

// The ports that URLs may have.
const (
	portHTTP     = 80
	portHTTPS    = 443
	portHTTPSAlt = 8443
)

// ErrRefused means that an address must not be dialled.
var ErrRefused = errors.New("the address may not be reached")

// Allowed lists what may be fetched besides public addresses. In the setting the entries are
// separated by commas:
//
//   - media.internal, 10.1.2.3, 10.1.0.0/16: a host, an address or a network, on the ports 80, 443
//     and 8443
//   - media.internal:9000, 10.1.0.0/16:9000, [fd00::/8]:9000: on this port
//   - 127.0.0.0/8:*: on every port
//   - s3://bucket/prefix: objects, which are copied with the credentials of the service
//
// The zero value allows only public addresses, on the ports 80, 443 and 8443.
type Allowed struct {
	hosts    []place[string]
	networks []place[netip.Prefix]
	objects  []string // s3://bucket/prefix
}

// place is a host or a network, with the port at which it may be reached.
type place[T any] struct {
	at   T
	port uint16 // 0: the ports 80, 443 and 8443
	any  bool   // every port is allowed
}

func (p place[T]) mayPort(port uint16) bool {
	return p.any || p.port == port || p.port == 0 && isUsualPort(port)
}

func isUsualPort(port uint16) bool {
	return port == portHTTP || port == portHTTPS || port == portHTTPSAlt
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Allowed) UnmarshalText(text []byte) error {
	*a = Allowed{}
	_, err := config.ParseList(text, func(entry string) (struct{}, error) { return struct{}{}, a.add(entry) })
	return err //nolint:wrapcheck // the error names the entries
}

// add parses an entry of the setting and adds it to the list.
func (a *Allowed) add(entry string) error {
	if rest, ok := strings.CutPrefix(entry, schemeS3); ok {
		bucket, key, _ := strings.Cut(rest, "/")
		if bucket == "" || hasDots(key) {
			return fmt.Errorf("%q is not s3://bucket/prefix", entry)
		}
		a.objects = append(a.objects, schemeS3+bucket+"/"+key) // the slash after the bucket prevents a match with a longer name of a bucket
		return nil
	}
	if network, ok := parseNetwork(entry); ok { // parsed first, since the colons of an IPv6 network do not separate a port
		a.networks = append(a.networks, place[netip.Prefix]{at: network})
		return nil
	}
	at, port, err := splitPort(entry)
	if err != nil {
		return err
	}
	if network, ok := parseNetwork(strings.Trim(at, "[]")); ok {
		a.networks = append(a.networks, place[netip.Prefix]{at: network, port: port.port, any: port.any})
		return nil
	}
	host := strings.ToLower(strings.Trim(at, "[]"))
	if host == "" || strings.ContainsAny(host, "/@?#% *") {
		return fmt.Errorf("%q is neither a host, nor a network, nor s3://bucket/prefix", entry)
	}
	a.hosts = append(a.hosts, place[string]{at: host, port: port.port, any: port.any})
	return nil
}

// parseNetwork parses a network in CIDR notation, or an address, which it returns as a network with
// one address.
func parseNetwork(text string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), true
	}
	network, err := netip.ParsePrefix(text)
	return network, err == nil
}

// splitPort splits the port from an entry of the setting.
func splitPort(entry string) (at string, port place[struct{}], err error) {
	i := strings.LastIndexByte(entry, ':')
	if i < 0 || strings.HasSuffix(entry, "]") || strings.Contains(entry[:i], ":") && !strings.HasPrefix(entry, "[") {
		return entry, port, nil // no port: the last colon, if any, is part of an IPv6 address
	}
	at, text := entry[:i], entry[i+1:]
	if text == "*" {
		return at, place[struct{}]{any: true}, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", port, fmt.Errorf("%q has no port of 1 to 65535, and not *", entry)
	}
	return at, place[struct{}]{port: uint16(n)}, nil
}

// mayPort reports whether the URL of a host may have a port. The addresses of the host are not
// known yet. Therefore the port of a listed network is allowed for every host.
func (a Allowed) mayPort(host string, port uint16) bool {
	return isUsualPort(port) || a.MayHost(host, port) ||
		slices.ContainsFunc(a.networks, func(p place[netip.Prefix]) bool { return p.mayPort(port) })
}

// MayHost reports whether a host is listed by its name. It may then have any address.
func (a Allowed) MayHost(host string, port uint16) bool {
	host = strings.ToLower(host)
	return slices.ContainsFunc(a.hosts, func(p place[string]) bool { return p.at == host && p.mayPort(port) })
}

// CheckAddress returns an error that wraps ErrRefused if an address is neither public nor listed.
func (a Allowed) CheckAddress(to netip.AddrPort) error {
	addr := to.Addr().Unmap()
	for _, p := range a.networks {
		if p.at.Contains(addr) && p.mayPort(to.Port()) {
			return nil
		}
	}
	guard := ssrf.New(ssrf.WithPorts(portHTTP, portHTTPS, portHTTPSAlt))
	if err := guard.SafeAddrPort(netip.AddrPortFrom(addr, to.Port())); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// IsPublic reports whether an address is in none of the networks that are private or have a special
// purpose.
func IsPublic(addr netip.Addr) bool {
	return Allowed{}.CheckAddress(netip.AddrPortFrom(addr, portHTTPS)) == nil
}

// schemeS3 is the beginning of the URL of an object.
const schemeS3 = "s3://"

// Object is an object in S3.
type Object struct{ Bucket, Key string }

// IsObject reports whether a source is an object in S3.
func (s Source) IsObject() bool { return strings.HasPrefix(s.URL, schemeS3) }

// Object returns the object that s3://bucket/key names, if the list allows it. The key is not a URL
// path: it is used unchanged, and may contain % and ?. The error is a Reason.
func (a Allowed) Object(text string) (Object, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(text, schemeS3), "/")
	// A server that stores objects as files could follow dots out of the prefix, or treat a
	// backslash as a slash.
	clean := strings.ReplaceAll(key, `\`, "/")
	if bucket == "" || strings.Trim(key, "/") == "" || hasDots(clean) || strings.ContainsFunc(text, isControl) {
		return Object{}, badObject
	}
	if strings.HasPrefix(clean, "/") || !slices.ContainsFunc(a.objects, func(prefix string) bool {
		return strings.HasPrefix(schemeS3+bucket+"/"+clean, prefix)
	}) {
		return Object{}, badBucket
	}
	return Object{Bucket: bucket, Key: key}, nil
}

// CheckBucket returns an error if the list allows objects of the bucket of recordings, which
// contains the recordings of all owners.
func (a Allowed) CheckBucket(recordings string) error {
	if slices.ContainsFunc(a.objects, func(prefix string) bool { return strings.HasPrefix(prefix, schemeS3+recordings+"/") }) {
		return errors.New("FETCH_ALLOWED must not list the bucket of recordings, which has the recordings of all owners")
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// hasDots reports whether a path has a segment "." or "..".
func hasDots(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "/"), func(segment string) bool { return segment == "." || segment == ".." })
}
