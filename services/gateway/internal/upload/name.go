package upload

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName bounds a file name, in characters.
const maxName = 255

// cleanName makes a client's file name fit to be shown: valid UTF-8, no folder,
// no control characters, and none of those that turn the direction of writing,
// with which "gpj.exe" is made to look like "exe.jpg". It stays metadata: no path
// is ever made of it.
func cleanName(name string) string {
	name = strings.ToValidUTF8(name, "")
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, name))
	for i := range name {
		if utf8.RuneCountInString(name[:i]) == maxName {
			return name[:i]
		}
	}
	return name
}
