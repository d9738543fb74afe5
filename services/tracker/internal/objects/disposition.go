package objects

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// contentDisposition returns the Content-Disposition of a recording (RFC 6266), which tells a
// browser whether to play or to save the recording, and the file name. The parameter filename* has
// the original name, shortened by cutName. The parameter filename has the name in ASCII, for clients
// that do not know filename*. The whole value is ASCII, since HTTP headers must be.
func contentDisposition(download bool, name string) string {
	kind := "inline"
	if download {
		kind = "attachment"
	}
	if name == "" {
		return kind
	}
	name = cutName(name)
	return fmt.Sprintf(`%s; filename="%s"; filename*=UTF-8''%s`, kind, asciiName(name), extendedValue(name))
}

// The limits of a file name, in bytes. A byte of a name in Korean takes up to five bytes of the
// presigned URL, in which the percent signs of filename* are encoded again, and the URL may contain a
// security token of 1 KiB or more. The URL is sent in the header Location. nginx answers with 502
// if the headers of an answer exceed its proxy_buffer_size of 4 KiB.
const (
	maxName      = 255 // as in the file systems of Linux
	maxExtension = 64  // of the extension, which is kept if the name is shortened
)

// cutName shortens a long name between two characters, and keeps its extension.
func cutName(name string) string {
	if len(name) <= maxName {
		return name
	}
	extension := ""
	if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= maxExtension {
		extension = name[i:]
	}
	end := maxName - len(extension)
	for end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end] + extension
}

// asciiName converts a name to ASCII: it removes accents, and replaces each run of other characters
// by one underscore. It also replaces quotes, backslashes and percent signs, since clients decode
// them differently (RFC 6266, appendix D).
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
	if strings.HasPrefix(ascii, "_.") || ascii == "_" { // no character before the extension was kept
		return "recording" + ascii[1:]
	}
	return ascii
}

// extendedValue percent-encodes all bytes except the attr-chars of RFC 8187, section 3.2.1.
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
