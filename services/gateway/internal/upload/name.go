package upload

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	maxName      = 255 // characters of a file name
	maxExtension = 16  // of its extension, which is kept where the name is cut
)

// plainName decodes a filename parameter.
func plainName(value, charset string) string {
	return fromURL(encodedWords(textIn(value, charset)))
}

// formEscapes undoes the three escapes of forms, in names as well
// (html.spec.whatwg.org, "multipart/form-data encoding algorithm").
func formEscapes() *strings.Replacer {
	return strings.NewReplacer("%22", `"`, "%0D", "\r", "%0A", "\n", "%0d", "\r", "%0a", "\n")
}

// fromURL undoes what forms escape. Some clients, React Native among them, send
// encodeURIComponent of the name: one that is written with nothing but the
// characters of that function and whole escapes of UTF-8 is taken for it.
func fromURL(name string) string {
	if strings.Contains(name, "%") && strings.IndexFunc(name, notOfURL) < 0 {
		if text, err := url.PathUnescape(name); err == nil && utf8.ValidString(text) {
			return text
		}
	}
	return formEscapes().Replace(name)
}

func notOfURL(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("%-_.!~*'()", r)
}

// cleanName makes a client's file name fit to be shown and to be compared: valid
// UTF-8 in the form NFC (macOS sends NFD, in which Hangul is spelled in letters),
// no folder, no control characters, and none of those that turn the direction of
// writing, with which "gpj.exe" is made to look like "exe.jpg". It stays
// metadata: no path is ever made of it.
func cleanName(name string) string {
	name = cleanText(name[strings.LastIndexAny(name, `/\`)+1:])
	if name == "." || name == ".." {
		return ""
	}
	return cutName(name)
}

// cleanText is text without what is not to be shown.
func cleanText(text string) string {
	return strings.TrimSpace(norm.NFC.String(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))))
}

// cutName shortens a name that is too long in front of its extension.
func cutName(name string) string {
	if utf8.RuneCountInString(name) <= maxName {
		return name
	}
	extension := ""
	if i := strings.LastIndexByte(name, '.'); i > 0 && utf8.RuneCountInString(name[i:]) <= maxExtension {
		extension = name[i:]
	}
	return firstRunes(name, maxName-utf8.RuneCountInString(extension)) + extension
}

// firstRunes returns the first n characters of s.
func firstRunes(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}
