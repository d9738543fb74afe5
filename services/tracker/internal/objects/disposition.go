package objects

import (
	"fmt"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// contentDisposition returns the Content-Disposition of a recording (RFC 6266). It determines
// whether a browser plays or saves the recording, and its file name. filename* has the name
// unchanged; filename has the name in ASCII, for clients that do not know filename*. The whole
// value is ASCII, since S3 signs it.
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

// asciiName converts a name to ASCII: accents are removed, and a run of other characters becomes
// one underscore. Quotes, backslashes and percent signs are replaced too, since clients decode them
// differently (RFC 6266, appendix D).
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
	if strings.HasPrefix(ascii, "_.") || ascii == "_" { // the name has no ASCII character before its extension
		return "recording" + ascii[1:]
	}
	return ascii
}

// extendedValue escapes all bytes except the attr-chars of RFC 8187, section 3.2.1.
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
