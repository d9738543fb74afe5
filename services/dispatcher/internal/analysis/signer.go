package analysis

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strconv"
	"time"
)

// Signer makes and checks callback URLs. The signature covers job, attempt and expiry. The analysis
// server need not sign anything itself: knowing the URL authenticates it, for this attempt only.
type Signer struct {
	base    *url.URL
	secrets [][]byte
	valid   time.Duration
	now     func() time.Time
}

// SignerOptions has the settings of the operator.
type SignerOptions struct {
	Secrets []string      // the first secret signs; a signature with any of the secrets is valid, so that secrets can be rotated
	Valid   time.Duration // time from signing a URL to its expiry
	Now     func() time.Time
}

// NewSigner makes a Signer of callback URLs that begin with base. It signs with HMAC-SHA256 (RFC
// 2104).
func NewSigner(base *url.URL, o SignerOptions) *Signer {
	s := &Signer{base: base, valid: o.Valid, now: o.Now}
	for _, secret := range o.Secrets {
		s.secrets = append(s.secrets, []byte(secret))
	}
	return s
}

// The query parameters of a callback URL.
const (
	ParamJob       = "job_id"
	ParamAttempt   = "attempt"
	ParamExpires   = "exp" // seconds since 1970
	ParamSignature = "sig"
)

// URL returns the signed callback URL of an attempt.
func (s *Signer) URL(job string, attempt int) string {
	expires := strconv.FormatInt(s.now().Add(s.valid).Unix(), 10)
	u := *s.base
	q := u.Query()
	q.Set(ParamJob, job)
	q.Set(ParamAttempt, strconv.Itoa(attempt))
	q.Set(ParamExpires, expires)
	q.Set(ParamSignature, sign(s.secrets[0], signed(job, attempt, expires)))
	u.RawQuery = q.Encode()
	return u.String()
}

// Valid reports in constant time whether sig is a valid signature of a job, an attempt and an
// expiry, and the expiry is in the future. expires is empty for a URL that was made before URLs had
// an expiry: such a URL does not expire. Valid compares the encoded signatures, since base64 has
// several encodings of the same bytes.
func (s *Signer) Valid(job string, attempt int, expires, sig string) bool {
	text, valid := signed(job, attempt, expires), false
	for _, secret := range s.secrets {
		if hmac.Equal([]byte(sig), []byte(sign(secret, text))) {
			valid = true
		}
	}
	return valid && !s.expired(expires)
}

// expired reports whether an expiry from a URL is not in the future. An empty expiry never expires.
func (s *Signer) expired(expires string) bool {
	if expires == "" {
		return false
	}
	seconds, err := strconv.ParseInt(expires, 10, 64)
	return err != nil || !s.now().Before(time.Unix(seconds, 0))
}

// signed returns the text that is signed. It is different for an empty expiry: such URLs were sent
// before URLs had an expiry, and are valid while their job has a log.
func signed(job string, attempt int, expires string) string {
	text := job + "\n" + strconv.Itoa(attempt)
	if expires == "" {
		return "sori webhook v1\n" + text
	}
	return "sori webhook v2\n" + text + "\n" + expires
}

func sign(secret []byte, text string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
