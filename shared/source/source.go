// Package source describes from where a recording is fetched, and decides what may be fetched.
//
// A client names a URL, and a service sends the request: without rules a client could reach every
// host that the service can reach (server-side request forgery). Allowed has the rules. They apply
// to the URL, to each redirect, and to the address that is dialled.
//
// A URL may be presigned, and headers contain credentials. Therefore a Source is a secret: events
// carry it sealed (Sealer), and errors name the host alone.
package source

import (
	"fmt"
	"net/netip"
	"net/textproto"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// Source is where a recording is fetched from.
type Source struct {
	URL    string            `json:"url"`
	Header map[string]string `json:"header,omitempty"` // request headers, which are sent to the origin of URL only
	SHA256 string            `json:"sha256,omitempty"` // hash that the client announced, in hexadecimal; empty if it announced none
}

// Limits of a source.
const (
	MaxURL     = 8192 // maximum number of bytes; a presigned URL with a session token has about 2000
	MaxHeaders = 32
	MaxHeader  = 8192 // maximum number of bytes in all names and values together
)

// Reason is the reason why a source is not usable: a sentence without its subject, for the client.
// It contains no part of the source.
type Reason string

// Error implements error.
func (r Reason) Error() string { return string(r) }

// The reasons why a URL is not usable.
const (
	notURL      Reason = "must be an absolute http, https or s3 URL"
	tooLong     Reason = "must have at most 8192 bytes"
	hasUser     Reason = "must not have a user or a password; use headers"
	hasFragment Reason = "must not have a fragment"
	badPort     Reason = "must have the port 80, 443 or 8443"
	notPublic   Reason = "must not name an address of a private network"
	badObject   Reason = "must name a bucket and a key, and no . or .. in the key"
	badBucket   Reason = "must name an object that may be fetched (setting FETCH_ALLOWED)"
)

// Parse parses the URL of a source, and checks everything that can be checked without resolving its
// host. The error is a Reason.
func (a Allowed) Parse(text string) (*url.URL, error) {
	if len(text) > MaxURL {
		return nil, tooLong
	}
	if strings.HasPrefix(text, schemeS3) {
		_, err := a.Object(text)
		return &url.URL{Scheme: "s3"}, err
	}
	u, err := url.Parse(text)
	if err != nil || strings.ContainsFunc(text, isSpaceOrControl) {
		return nil, notURL // the cause is left out: it contains the URL
	}
	if strings.Contains(text, "#") {
		return nil, hasFragment
	}
	return u, a.CheckURL(u)
}

// CheckURL checks the URL of a request, including that of a redirect. The error is a Reason.
func (a Allowed) CheckURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "" {
		return notURL
	}
	if u.User != nil {
		return hasUser
	}
	port, err := portOf(u)
	if err != nil || !a.mayPort(u.Hostname(), port) {
		return badPort
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil && a.CheckAddress(netip.AddrPortFrom(addr, port)) != nil {
		return notPublic
	}
	return nil
}

// portOf returns the port of an http or https URL.
func portOf(u *url.URL) (uint16, error) {
	switch text := u.Port(); {
	case text != "":
		n, err := strconv.ParseUint(text, 10, 16)
		return uint16(n), err //nolint:wrapcheck // the caller returns a Reason instead
	case u.Scheme == "https":
		return portHTTPS, nil
	default:
		return portHTTP, nil
	}
}

func isSpaceOrControl(r rune) bool { return r <= ' ' || r == 0x7f }

// Host returns the host or the bucket of a source: the only part that logs and failures may
// contain.
func (s Source) Host() string {
	if rest, ok := strings.CutPrefix(s.URL, schemeS3); ok {
		bucket, _, _ := strings.Cut(rest, "/")
		return bucket
	}
	if u, err := url.Parse(s.URL); err == nil {
		return u.Hostname()
	}
	return ""
}

// FileName returns the last segment of the path of a source; empty if there is none. The client
// chooses this text.
func (s Source) FileName() string {
	text := ""
	if rest, ok := strings.CutPrefix(s.URL, schemeS3); ok {
		text = rest
	} else if u, err := url.Parse(s.URL); err == nil {
		text = u.Path
	}
	if name := path.Base(text); name != "/" && name != "." {
		return name
	}
	return ""
}

// CheckHeader checks a header that a client wants to be sent with the request for the source. The
// error is a Reason.
func CheckHeader(name, value string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isTokenChar(r) }) {
		return Reason("has a name that no header may have")
	}
	if isReserved(strings.ToLower(name)) {
		return Reason(fmt.Sprintf("must not have %s, which the request sets itself", textproto.CanonicalMIMEHeaderKey(name)))
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return Reason("must not have control characters in a value")
	}
	return nil
}

// isReserved reports whether a header, in lower case, controls the connection, the framing of the
// message, or the part of the file that is requested.
func isReserved(name string) bool {
	for _, prefix := range []string{"proxy-", "if-", "content-", "sec-", "sori-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "host", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect", "range",
		"accept-encoding", "via", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto":
		return true
	default:
		return false
	}
}

// isTokenChar reports whether a character may be part of the name of a header (RFC 9110, section
// 5.6.2).
func isTokenChar(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
