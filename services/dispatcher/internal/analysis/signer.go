package analysis

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strconv"
)

// Signer makes and checks callback URLs. The signature covers job and attempt,
// so that a server which knows nothing of signatures proves itself by using the
// URL that it was given, and can speak for no other job.
type Signer struct {
	base   *url.URL
	secret []byte
}

// NewSigner signs callbacks to base with an HMAC-SHA256 (RFC 2104) under secret.
func NewSigner(base *url.URL, secret string) *Signer {
	return &Signer{base: base, secret: []byte(secret)}
}

// URL is where the server reports on an attempt.
func (s *Signer) URL(job string, attempt int) string {
	u := *s.base
	q := u.Query()
	q.Set("job_id", job)
	q.Set("attempt", strconv.Itoa(attempt))
	q.Set("sig", s.sign(job, attempt))
	u.RawQuery = q.Encode()
	return u.String()
}

// Valid reports whether sig is ours for this job and attempt, in constant time.
// It compares the text: base64 has several for the same bytes.
func (s *Signer) Valid(job string, attempt int, sig string) bool {
	return hmac.Equal([]byte(sig), []byte(s.sign(job, attempt)))
}

func (s *Signer) sign(job string, attempt int) string {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte("sori webhook v1\n" + job + "\n" + strconv.Itoa(attempt)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
