package upload

import (
	"io"
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/transform"

	"sori.internal/shared/charset"
)

// decode decodes text in a charset. It fails if the charset is unknown or the text is not valid in
// it.
func decode(text, name string) (string, bool) {
	e, err := charset.Find(name)
	if err != nil {
		return "", false
	}
	return decodeAs(text, e)
}

func decodeAs(text string, e encoding.Encoding) (string, bool) {
	decoded, err := e.NewDecoder().String(text)
	return decoded, err == nil && !strings.ContainsRune(decoded, utf8.RuneError)
}

// decodeText converts text of a client to UTF-8. Valid UTF-8 is never converted, whatever charset
// the form names: text in another charset is hardly ever valid UTF-8 by chance. Otherwise the
// charset that the form names is used. If that fails, the charset is guessed.
func decodeText(text, charset string) string {
	if utf8.ValidString(text) {
		return text
	}
	if decoded, ok := decode(text, charset); ok {
		return decoded
	}
	return guessCharset(text)
}

// legacyCharset is a charset in which some pages and programs still send names.
type legacyCharset struct {
	encoding.Encoding
	score func(raw []byte, r rune) float64 // from 0 to 1, how common a character is in names
}

// legacyCharsets returns the charsets that are tried. Neither x/net/html/charset (which uses
// windows-1252 for all text that is not UTF-8) nor x/text detects these charsets. If two charsets
// fit equally, the first is used.
func legacyCharsets() []legacyCharset {
	return []legacyCharset{{korean.EUCKR, scoreKorean}, {japanese.ShiftJIS, scoreJapanese}, {charmap.Windows1252, scoreLatin}}
}

// scoreKorean prefers the syllables of KS X 1001, rows B0 to C8. Japanese text in Shift_JIS that is
// read as EUC-KR has rare syllables of CP949. Latin text with accents that is read as EUC-KR has
// such syllables too, or invalid pairs of bytes.
func scoreKorean(raw []byte, r rune) float64 {
	switch {
	case len(raw) == 2 && raw[0] >= 0xb0 && raw[0] <= 0xc8 && raw[1] >= 0xa1:
		return 1
	case unicode.Is(unicode.Han, r):
		return 0.5
	default:
		return 0.3
	}
}

// scoreJapanese prefers kana and kanji of level 1. Korean text in EUC-KR that is read as Shift_JIS
// has half-width katakana, which are not used in names.
func scoreJapanese(raw []byte, _ rune) float64 {
	switch {
	case len(raw) == 1:
		return 0
	case raw[0] <= 0x83 || raw[0] >= 0x88 && raw[0] <= 0x97:
		return 1
	default:
		return 0.2
	}
}

// scoreLatin prefers the letters of Latin-1. The other letters of windows-1252 are rare.
func scoreLatin(raw []byte, r rune) float64 {
	switch {
	case raw[0] >= 0xc0 && unicode.IsLetter(r):
		return 1
	case unicode.IsLetter(r):
		return 0.4
	default:
		return 0.2
	}
}

// guessCharset decodes text that is not valid UTF-8 and whose charset is unknown.
func guessCharset(text string) string {
	best, most := strings.ToValidUTF8(text, ""), 0.0
	if validShare(text) > 0.5 { // probably UTF-8 that was cut or damaged, and not a legacy charset
		return best
	}
	for _, l := range legacyCharsets() {
		if decoded, score, ok := l.decode(text); ok && score > most {
			best, most = decoded, score
		}
	}
	return best
}

// validShare returns how many of the bytes beyond ASCII are valid UTF-8, from 0 to 1.
func validShare(text string) float64 {
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

// decode decodes text, and returns the average score of its characters beyond ASCII.
func (l legacyCharset) decode(text string) (decoded string, score float64, ok bool) {
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
		score += l.score(raw, r)
		b.WriteRune(r)
		i += len(raw)
	}
	return b.String(), score / float64(max(1, all)), true
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

// decodeWords decodes a name such as =?utf-8?B?7JWI?= (RFC 2047), which .NET and mail libraries
// send. It returns any other name unchanged.
func decodeWords(name string) string {
	if !strings.HasPrefix(name, "=?") || !strings.HasSuffix(name, "?=") {
		return name
	}
	words := mime.WordDecoder{CharsetReader: func(name string, r io.Reader) (io.Reader, error) {
		e, err := charset.Find(name)
		if err != nil {
			return nil, err //nolint:wrapcheck // only the fact that it fails is used
		}
		return transform.NewReader(r, e.NewDecoder()), nil
	}}
	if text, err := words.DecodeHeader(name); err == nil {
		return text
	}
	return name
}
