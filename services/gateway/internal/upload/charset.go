package upload

import (
	"io"
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/transform"
)

// decode decodes text in a charset that is named as on the web
// (encoding.spec.whatwg.org), where EUC-KR means CP949 and ISO-8859-1 means
// windows-1252. It fails where the charset is unknown or text is not in it.
func decode(text, charset string) (string, bool) {
	e, err := htmlindex.Get(charset)
	if err != nil {
		return "", false
	}
	return decodeAs(text, e)
}

func decodeAs(text string, e encoding.Encoding) (string, bool) {
	decoded, err := e.NewDecoder().String(text)
	return decoded, err == nil && !strings.ContainsRune(decoded, utf8.RuneError)
}

// textIn makes UTF-8 of what a client sent. Whatever is valid UTF-8 is UTF-8,
// whatever the form says, since no text of a few characters in another charset
// looks like it by chance. Else the charset that the form names counts, and else
// the one that fits best.
func textIn(text, charset string) string {
	if utf8.ValidString(text) {
		return text
	}
	if decoded, ok := decode(text, charset); ok {
		return decoded
	}
	return guess(text)
}

// legacy is a charset that names are still sent in, by pages and programs that
// do not speak UTF-8.
type legacy struct {
	encoding.Encoding
	usual func(raw []byte, r rune) float64 // how usual a character is in names, from 0 to 1
}

// legacies are the charsets that are tried. x/net/html/charset, which decides
// about pages, takes everything that is not UTF-8 for windows-1252 where no
// label tells, and x/text detects nothing: so the decision is ours. Where two
// fit equally the earlier one wins.
func legacies() []legacy {
	return []legacy{{korean.EUCKR, usualKorean}, {japanese.ShiftJIS, usualJapanese}, {charmap.Windows1252, usualLatin}}
}

// usualKorean knows the syllables of KS X 1001, which are rows B0 to C8. The
// bytes of Japanese in Shift_JIS are syllables that only CP949 has, which hardly
// occur; those of accented letters before others are such ones or no pair at all.
func usualKorean(raw []byte, r rune) float64 {
	switch {
	case len(raw) == 2 && raw[0] >= 0xb0 && raw[0] <= 0xc8 && raw[1] >= 0xa1:
		return 1
	case unicode.Is(unicode.Han, r):
		return 0.5
	default:
		return 0.3
	}
}

// usualJapanese knows kana, and kanji of level 1. The bytes of Korean in EUC-KR
// are half-width katakana, which nobody writes names with.
func usualJapanese(raw []byte, _ rune) float64 {
	switch {
	case len(raw) == 1:
		return 0
	case raw[0] <= 0x83 || raw[0] >= 0x88 && raw[0] <= 0x97:
		return 1
	default:
		return 0.2
	}
}

// usualLatin knows the letters of Latin-1. Those that only windows-1252 has are
// rare.
func usualLatin(raw []byte, r rune) float64 {
	switch {
	case raw[0] >= 0xc0 && unicode.IsLetter(r):
		return 1
	case unicode.IsLetter(r):
		return 0.4
	default:
		return 0.2
	}
}

// guess decodes text that is no valid UTF-8 and whose charset nobody told.
func guess(text string) string {
	best, most := strings.ToValidUTF8(text, ""), 0.0
	if intact(text) > 0.5 { // UTF-8 that was cut or damaged
		return best
	}
	for _, l := range legacies() {
		if decoded, usual, ok := l.try(text); ok && usual > most {
			best, most = decoded, usual
		}
	}
	return best
}

// intact is the share of a text's bytes beyond ASCII that are whole characters
// of UTF-8.
func intact(text string) float64 {
	whole, all := 0, 0
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if text[i] >= utf8.RuneSelf {
			all += n
			if r != utf8.RuneError {
				whole += n
			}
		}
		i += n
	}
	return float64(whole) / float64(max(1, all))
}

// try decodes text and tells how usual its characters beyond ASCII are.
func (l legacy) try(text string) (decoded string, usual float64, ok bool) {
	var b strings.Builder
	all := 0
	d := l.NewDecoder()
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			b.WriteByte(text[i])
			i++
			continue
		}
		raw, r := character(d, text[i:])
		if r == utf8.RuneError {
			return "", 0, false
		}
		all++
		usual += l.usual(raw, r)
		b.WriteRune(r)
		i += len(raw)
	}
	return b.String(), usual / float64(max(1, all)), true
}

// character decodes the first character of s, of one byte or two.
func character(d *encoding.Decoder, s string) ([]byte, rune) {
	var out [utf8.UTFMax]byte
	for n := 1; n <= min(2, len(s)); n++ {
		d.Reset()
		raw := []byte(s[:n])
		written, read, err := d.Transform(out[:], raw, true)
		if r, size := utf8.DecodeRune(out[:written]); err == nil && read == n && size == written && r != utf8.RuneError {
			return raw, r
		}
	}
	return nil, utf8.RuneError
}

// encodedWords decodes a name like =?utf-8?B?7JWI?= (RFC 2047), which .NET and
// libraries for mail send; other names it returns as they are.
func encodedWords(name string) string {
	if !strings.HasPrefix(name, "=?") || !strings.HasSuffix(name, "?=") {
		return name
	}
	words := mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
		e, err := htmlindex.Get(charset)
		if err != nil {
			return nil, err //nolint:wrapcheck // only whether it fails is looked at
		}
		return transform.NewReader(r, e.NewDecoder()), nil
	}}
	if text, err := words.DecodeHeader(name); err == nil {
		return text
	}
	return name
}
