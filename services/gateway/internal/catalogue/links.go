package catalogue

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"sori.internal/shared/fault"
	"sori.internal/shared/source"
)

// This file has the rules of references and links. A reference names an object. A service or the
// analysis server reads the object with rights that the user does not have. A link is followed by
// the browsers of other users.

// The reasons why a reference or a link is refused.
const (
	notReference = "must be s3://bucket/key, an http or https URL, or a key"
	notAllowed   = "must name an object that references may name (setting REFERENCE_PREFIXES)"
	foreign      = "must name an object of this storage, or a file below REFERENCE_PREFIXES"
	notLink      = "must be an http or https URL, or text without a scheme"
	notPublic    = "must not have credentials, and must not name an address of a private network"
)

// reference reads a reference.
func (f *fields) reference(member string, check func(ref string) error) *string {
	ref := f.line(member)
	if ref == nil {
		return nil
	}
	if err := check(*ref); err != nil {
		f.refuse(member, reasonOf(err))
		return nil
	}
	return ref
}

// playable reads a reference to an object that browsers play. Unlike other references, this one may
// be a public URL of another host.
func (f *fields) playable(member string, check func(ref string) error) *string {
	ref := f.line(member)
	if ref == nil {
		return nil
	}
	err := check(*ref)
	if err == nil {
		return ref
	}
	if fault.As(err).Code != codeForeign {
		f.refuse(member, reasonOf(err))
		return nil
	}
	return f.public(member, *ref)
}

// link reads a link. Text without a scheme is allowed too: a browser resolves it to the site of the
// page, unless it begins with two slashes.
func (f *fields) link(member string) *string {
	text := f.line(member)
	if text == nil || !hasScheme(*text) && !namesHost(*text) {
		return text
	}
	return f.public(member, *text)
}

// line reads a text of one line that may be a URL. Spaces around it are removed: browsers ignore
// them too.
func (f *fields) line(member string) *string {
	return f.checked(member, strings.TrimFunc(f.text(member), unicode.IsSpace), maxURL, unicode.IsControl)
}

// public refuses a URL that is not http or https, that contains credentials, or whose host is an
// address of a private network.
func (f *fields) public(member, text string) *string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		f.refuse(member, notLink)
	case u.User != nil || !isPublicHost(u.Hostname()):
		f.refuse(member, notPublic)
	default:
		return &text
	}
	return nil
}

// codeForeign is the code of the failure that a reference names another host.
const codeForeign = "reference-foreign"

func reasonOf(err error) string {
	switch fault.As(err).Code {
	case codeForeign:
		return foreign
	case "reference-not-allowed":
		return notAllowed
	default:
		return notReference
	}
}

// scheme matches the scheme at the beginning of a URL (RFC 3986, section 3.1).
var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

func hasScheme(text string) bool { return scheme.MatchString(text) }

// namesHost reports whether a text without a scheme names another host (RFC 3986, section 4.2).
// Browsers take a backslash for a slash.
func namesHost(text string) bool {
	return len(text) > 1 && strings.Trim(text[:2], `/\`) == ""
}

// isPublicHost reports whether a host is not an address of a private network. A host name counts as
// public, whatever it resolves to. But browsers parse a name whose last label is a number as an
// IPv4 address, also in forms such as 2130706433 and 0x7f.1 (WHATWG URL, section 3.5).
func isPublicHost(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		return source.IsPublic(addr)
	}
	last := host[strings.LastIndex(host, ".")+1:]
	isNumber := last != "" && strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x")
	return !isNumber && host != "localhost" && !strings.HasSuffix(host, ".localhost")
}
