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
	keys []*standardwebhooks.Webhook // one of these keys must have signed the body
}

// minKey is the length of the shortest key that the specification allows, in bytes.
const minKey = 24

// errKeys does not quote the secrets.
var errKeys = errors.New("each must be whsec_ and the base64 of at least 24 bytes")

// NewSignatures parses secrets, which are separated by commas. Without any, nothing is verified.
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

// CheckHeaders verifies what can be verified without the body: the headers must be there, and the
// timestamp must be at most five minutes old.
func (s Signatures) CheckHeaders(h http.Header) error {
	if err := s.verify(h, nil); err != nil && !errors.Is(err, standardwebhooks.ErrNoMatchingSignature) {
		return analysis.SignatureInvalid(err)
	}
	return nil
}

// Check verifies the signature of a callback with its body.
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
