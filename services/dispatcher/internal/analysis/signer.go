package analysis

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strconv"
)

// Signer makes and checks callback URLs. The signature covers job and attempt. A server need not
// support signatures: it authenticates by using the URL that it has received, and only for this
// attempt.
type Signer struct {
	base   *url.URL
	secret []byte
}

// NewSigner makes a Signer of callbacks to base. It signs with HMAC-SHA256 (RFC 2104) and secret.
func NewSigner(base *url.URL, secret string) *Signer {
	return &Signer{base: base, secret: []byte(secret)}
}

// URL returns the signed callback URL of an attempt.
func (s *Signer) URL(job string, attempt int) string {
	u := *s.base
	q := u.Query()
	q.Set("job_id", job)
	q.Set("attempt", strconv.Itoa(attempt))
	q.Set("sig", s.sign(job, attempt))
	u.RawQuery = q.Encode()
	return u.String()
}

// Valid reports in constant time whether sig is the signature of a job and an attempt. It compares the
// encoded signatures, since base64 has several encodings of the same bytes.
func (s *Signer) Valid(job string, attempt int, sig string) bool {
	return hmac.Equal([]byte(sig), []byte(s.sign(job, attempt)))
}

func (s *Signer) sign(job string, attempt int) string {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte("sori webhook v1\n" + job + "\n" + strconv.Itoa(attempt)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
