package analysis

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// urlQuery is the query of a URL inside a text.
var urlQuery = regexp.MustCompile(`\?[\w.%~-]+=[^\s"'<>]*`)

// Quote makes a text of the server's fit to be shown: of at most so many runes,
// without what no log, terminal or database column should meet, and without the
// queries of URLs. Servers like to tell which URL they could not fetch, and the
// queries of those that we give them are secrets.
func Quote(s string, runes int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(urlQuery.ReplaceAllString(s, "?…"))
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:runes-1])) + "…"
}
