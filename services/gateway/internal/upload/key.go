package upload

import (
	"crypto/sha256"
	"strings"

	"sori.internal/shared/fault"
)

// Key is an idempotency key of an owner as it is stored: the hash of both. The text that the client
// sent may be long and confidential.
type Key [sha256.Size]byte

// maxKey limits an idempotency key, in bytes.
const maxKey = 255

// parseKey reads the lines of an Idempotency-Key header: a string of RFC 8941, section 3.3.3, as
// the draft of the header defines it, or bare text, which most clients send. Both forms of one text
// are the same key, and one text of two owners are two keys. It returns nil if there is no line.
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

// hashKey hashes a key of an owner. Neither has control characters, so that no owner and text are
// hashed as others are. Keys without an owner are hashed as they were before there were owners.
func hashKey(owner, text string) Key {
	if owner != "" {
		text = owner + "\x00" + text
	}
	return sha256.Sum256([]byte(text))
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
