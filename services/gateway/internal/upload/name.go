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
	maxExtension = 16  // characters of its extension, which is kept if the name is shortened
)

// decodeFileName decodes a filename parameter.
func decodeFileName(value, charset string) string {
	return unescapeName(decodeWords(decodeText(value, charset)))
}

// formEscapes returns a replacer of the three escapes of forms (html.spec.whatwg.org,
// "multipart/form-data encoding algorithm").
func formEscapes() *strings.Replacer {
	return strings.NewReplacer("%22", `"`, "%0D", "\r", "%0A", "\n", "%0d", "\r", "%0a", "\n")
}

// unescapeName replaces the escapes of a name. Some clients, React Native among them, send the
// result of encodeURIComponent. Such a name is decoded: it has only characters that this function
// leaves unescaped, and escapes of valid UTF-8.
func unescapeName(name string) string {
	if strings.Contains(name, "%") && strings.IndexFunc(name, notURIComponent) < 0 {
		if text, err := url.PathUnescape(name); err == nil && utf8.ValidString(text) {
			return text
		}
	}
	return formEscapes().Replace(name)
}

func notURIComponent(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("%-_.!~*'()", r)
}

// CleanName returns the file name of a client in a form that can be shown and compared: valid UTF-8
// in NFC (macOS sends NFD, in which Hangul is decomposed), without a folder, without control
// characters, and without bidirectional controls, which can make "gpj.exe" look like "exe.jpg". The
// name is never used as a path.
func CleanName(name string) string {
	name = cleanText(name[strings.LastIndexAny(name, `/\`)+1:])
	if name == "." || name == ".." {
		return ""
	}
	return cutName(name)
}

// cleanText returns text without the characters that must not be shown.
func cleanText(text string) string {
	return strings.TrimSpace(norm.NFC.String(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))))
}

// cutName shortens a long name and keeps its extension.
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
