package analysis

import (
	"regexp"
	"strings"
	"unicode"
)

// urlQuery matches the query of a URL that is part of a text.
var urlQuery = regexp.MustCompile(`\?[\w.%~-]+=[^\s"'<>]*`)

// maxSanitized is how many bytes of a text Sanitize reads. A text in a callback may have 16 MB.
// Sanitizing all of it would delay the recording of the callback by seconds.
const maxSanitized = 64 << 10

// Sanitize makes a text of the server safe to log, store and show. The result has at most maxRunes
// runes, is valid UTF-8, and has no control characters and no queries of URLs. Servers often report
// which URL they could not fetch, and the queries of presigned URLs and callback URLs are secrets.
func Sanitize(s string, maxRunes int) string {
	isCut := len(s) > maxSanitized
	if isCut {
		s = s[:maxSanitized]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(urlQuery.ReplaceAllString(s, "?…"))
	if runes := []rune(s); len(runes) > maxRunes || isCut {
		return strings.TrimSpace(string(runes[:min(len(runes), maxRunes-1)])) + "…"
	}
	return s
}
