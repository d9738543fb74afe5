package objects

import (
	"fmt"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// contentDisposition tells a browser what to do with a recording, and its name
// (RFC 6266): in filename* as it is, and in filename as far as it is ASCII, for
// clients that know no other. It is ASCII as a whole, since S3 signs it.
func contentDisposition(download bool, name string) string {
	kind := "inline"
	if download {
		kind = "attachment"
	}
	if name == "" {
		return kind
	}
	return fmt.Sprintf(`%s; filename="%s"; filename*=UTF-8''%s`, kind, asciiName(name), extendedValue(name))
}

// asciiName is a name in ASCII: accents are taken off, a run of other characters
// becomes one underscore. Quotes, backslashes and percent signs are among those,
// since clients read them in several ways (RFC 6266, appendix D).
func asciiName(name string) string {
	var b strings.Builder
	gap := false
	for _, r := range name {
		if base := []rune(norm.NFD.String(string(r)))[0]; base >= ' ' && base < 0x7f && !strings.ContainsRune(`"\%`, base) {
			b.WriteRune(base)
			gap = false
		} else if !gap {
			b.WriteByte('_')
			gap = true
		}
	}
	ascii := b.String()
	if strings.HasPrefix(ascii, "_.") || ascii == "_" { // nothing of it could be read
		return "recording" + ascii[1:]
	}
	return ascii
}

// extendedValue escapes all but the attr-chars of RFC 8187, section 3.2.1.
func extendedValue(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte("!#$&+-.^_`|~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
