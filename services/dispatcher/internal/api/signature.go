package api

import (
	"errors"
	"net/http"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"sori.internal/services/dispatcher/internal/analysis"
)

// Signatures verifies the signature that a server adds to its callbacks, in the headers webhook-id,
// webhook-timestamp and webhook-signature (Standard Webhooks 1.0.0,
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md). The
// zero value verifies nothing.
type Signatures struct {
	keys []*standardwebhooks.Webhook // a body that any of these keys has signed is valid
}

// minKey is the length of the shortest key that the specification allows, in bytes.
const minKey = 24

// errKeys is the error for malformed secrets. It must not contain the secrets.
var errKeys = errors.New("each must be whsec_ and the base64 of at least 24 bytes")

// NewSignatures parses a comma-separated list of secrets. With an empty list, no signature is
// verified.
func NewSignatures(secrets string) (Signatures, error) {
	var s Signatures
	for secret := range strings.SplitSeq(secrets, ",") {
		secret = strings.TrimSpace(secret)
		if secret == "" {
			continue
		}
		key, err := standardwebhooks.NewWebhook(secret)
		if err != nil || len(strings.TrimPrefix(secret, "whsec_")) < minKey*4/3 {
			return Signatures{}, errKeys
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

// CheckHeaders verifies the headers of a callback before the body is read: all signature headers
// must be present, and the timestamp must not be more than five minutes old.
func (s Signatures) CheckHeaders(h http.Header) error {
	if err := s.verify(h, nil); err != nil && !errors.Is(err, standardwebhooks.ErrNoMatchingSignature) {
		return analysis.SignatureInvalid(err)
	}
	return nil
}

// Check verifies the signature of a callback.
func (s Signatures) Check(h http.Header, body []byte) error {
	if err := s.verify(h, body); err != nil {
		return analysis.SignatureInvalid(err)
	}
	return nil
}

// verify returns nil if one of the keys has signed the body, or if there are no keys.
func (s Signatures) verify(h http.Header, body []byte) (err error) {
	for _, key := range s.keys {
		if err = key.Verify(body, h); err == nil {
			return nil
		}
	}
	return err
}
