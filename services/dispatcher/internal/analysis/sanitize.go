package analysis

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// urlQuery matches the query of a URL inside a text.
var urlQuery = regexp.MustCompile(`\?[\w.%~-]+=[^\s"'<>]*`)

// Sanitize makes a text of the server safe to log, store and show. The result has at most maxRunes
// runes, is valid UTF-8, and has no control characters and no queries of URLs. Servers often report
// which URL they could not fetch, and the queries of presigned URLs and callback URLs are secrets.
func Sanitize(s string, maxRunes int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(urlQuery.ReplaceAllString(s, "?…"))
	if utf8.RuneCountInString(s) <= maxRunes {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:maxRunes-1])) + "…"
}
