package upload

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"sori.internal/shared/fault"
)

// ParseDigest reads the SHA-256 from a Content-Digest or Repr-Digest header (RFC 9530, section 2).
// The header is a dictionary of byte sequences by algorithm (RFC 8941, sections 3.2 and 3.3.5).
// ParseDigest returns nil if the header is absent or has only other algorithms, which a recipient
// may ignore. It fails if the header is malformed.
func ParseDigest(header string) ([]byte, error) {
	var found []byte
	if strings.TrimSpace(header) == "" {
		return nil, nil
	}
	for member := range strings.SplitSeq(header, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(member), "=")
		if !ok || name == "" {
			return nil, malformedDigest()
		}
		if !strings.EqualFold(name, "sha-256") {
			continue
		}
		value, _, _ = strings.Cut(value, ";") // parameters
		value = strings.TrimSpace(value)
		encoded, opened := strings.CutPrefix(value, ":")
		encoded, closed := strings.CutSuffix(encoded, ":")
		digest, err := base64.StdEncoding.DecodeString(encoded)
		if !opened || !closed || err != nil || len(digest) != sha256.Size {
			return nil, malformedDigest()
		}
		found = digest
	}
	return found, nil
}

// digests returns the digests that a request announces.
func (r Request) digests() ([][]byte, error) {
	var all [][]byte
	for _, header := range []string{r.ContentDigest, r.ReprDigest} {
		digest, err := ParseDigest(header)
		if err != nil {
			return nil, err
		}
		if digest != nil {
			all = append(all, digest)
		}
	}
	return all, nil
}

func malformedDigest() error {
	return fault.New(fault.Invalid, "malformed-digest", "The headers Content-Digest and Repr-Digest must have the form sha-256=:base64:.")
}
