package upload

import (
	"crypto/sha256"
	"strings"

	"sori.internal/shared/fault"
)

// Key is the stored form of an idempotency key: the hash of the owner and the key's text. The text
// itself is not stored, since it may be long and confidential.
type Key [sha256.Size]byte

// maxKey limits an idempotency key, in bytes.
const maxKey = 255

// parseKey reads the values of the Idempotency-Key header. A value is a string of RFC 8941, section
// 3.3.3, as the draft of the header defines it, or text without quotes, which most clients send.
// Both forms of a text are the same key. The same text of two owners is two different keys.
// parseKey returns nil if there is no value.
func parseKey(lines []string, owner string) (*Key, error) {
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
	key := hashKey(owner, text)
	return &key, nil
}

// hashKey hashes an owner and a text. Neither contains control characters, so that a NUL between
// them makes the hash input unique. A key without an owner is hashed as before owners existed.
func hashKey(owner, text string) Key {
	if owner != "" {
		text = owner + "\x00" + text
	}
	return sha256.Sum256([]byte(text))
}

// unquote reads a string after its opening quote. The string must end with its closing quote, and
// must be ASCII.
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
