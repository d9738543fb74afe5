package upload

import (
	"crypto/sha256"
	"strings"

	"sori.internal/shared/fault"
)

// Key is an idempotency key as it is stored: the hash of the text that the client sent, which may
// be long and confidential.
type Key [sha256.Size]byte

// maxKey limits an idempotency key, in bytes.
const maxKey = 255

// parseKey reads the lines of an Idempotency-Key header: a string of RFC 8941, section 3.3.3, as
// the draft of the header defines it, or bare text, which most clients send. Both forms of one text
// are the same key. It returns nil if there is no line.
func parseKey(lines []string) (*Key, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	text := strings.Trim(lines[0], " \t")
	if quoted, isString := strings.CutPrefix(text, `"`); isString {
		var closed bool
		if text, closed = unquote(quoted); !closed {
			return nil, malformedKey()
		}
	}
	if len(lines) > 1 || text == "" || len(text) > maxKey || strings.ContainsFunc(text, isControl) {
		return nil, malformedKey()
	}
	key := Key(sha256.Sum256([]byte(text)))
	return &key, nil
}

// unquote reads a string after its opening quote. It must end with its closing quote, and must be
// ASCII.
func unquote(quoted string) (text string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(quoted); i++ {
		switch c := quoted[i]; {
		case c == '"':
			return b.String(), i == len(quoted)-1
		case c >= 0x80:
			return "", false
		case c == '\\':
			if i++; i == len(quoted) || quoted[i] != '"' && quoted[i] != '\\' {
				return "", false
			}
		}
		b.WriteByte(quoted[i])
	}
	return "", false
}

// isControl reports whether a character is an ASCII control character.
func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func malformedKey() error {
	return fault.New(fault.Invalid, "malformed-idempotency-key",
		"The header Idempotency-Key must hold one key of 1 to 255 bytes without control characters.")
}
