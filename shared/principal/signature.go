package principal

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sori.internal/shared/config"
)

// Header carries the signed principal from the gateway to a service behind it: a JSON Web Token
// (RFC 7519), signed with HS256.
const Header = "Sori-Principal"

const (
	issuer    = "sori-gateway"
	validity  = time.Minute      // validity of a signed principal, which is verified at once
	clockSkew = 30 * time.Second // allowed difference between the clocks of the gateway and the service that verifies
)

// MinSecret is the length of the shortest secret, in bytes: the length of a SHA-256 hash (RFC 7518,
// section 3.2).
const MinSecret = 32

// Config is the secret that the gateway and the services behind it share.
type Config struct {
	Secret config.Secret `env:"PRINCIPAL_SECRET,required"`
}

// Check implements config.Checker.
func (c *Config) Check() error {
	if n := len(c.Secret.Reveal()); n > 0 && n < MinSecret {
		return fmt.Errorf("PRINCIPAL_SECRET must have at least %d bytes", MinSecret)
	}
	return nil
}

// claims are the JWT claims of a signed principal.
type claims struct {
	jwt.RegisteredClaims

	Scope       string           `json:"scope"` // space-separated (RFC 8693, section 4.2)
	KeyID       string           `json:"key_id,omitempty"`
	AuthExpires *jwt.NumericDate `json:"auth_exp,omitempty"` // Principal.Expires
}

// principal returns the principal that verified claims describe.
func (c *claims) principal() (Principal, error) {
	if c.Subject != "" && !ValidOwner(c.Subject) {
		return Principal{}, errOwner
	}
	p := Principal{Owner: c.Subject, KeyID: c.KeyID}
	for scope := range strings.FieldsSeq(c.Scope) {
		p.Scopes = append(p.Scopes, Scope(scope))
	}
	if c.AuthExpires != nil {
		p.Expires = c.AuthExpires.Time
	}
	return p, nil
}

// scopeClaim returns the claim scope of a principal.
func (p Principal) scopeClaim() string {
	scopes := make([]string, len(p.Scopes))
	for i, scope := range p.Scopes {
		scopes[i] = string(scope)
	}
	return strings.Join(scopes, " ")
}

// Signer signs principals. It is safe for concurrent use.
type Signer struct{ secret []byte }

// NewSigner makes a Signer.
func NewSigner(c Config) Signer { return Signer{secret: []byte(c.Secret.Reveal())} }

// Sign returns the value of the header for a principal. It is valid for a minute from now.
func (s Signer) Sign(p Principal, now time.Time) (string, error) {
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: p.Owner, ExpiresAt: jwt.NewNumericDate(now.Add(validity)),
		},
		Scope: p.scopeClaim(), KeyID: p.KeyID,
	}
	if !p.Expires.IsZero() {
		c.AuthExpires = jwt.NewNumericDate(p.Expires)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, c)
	signed, err := token.SignedString(s.secret)
	if err != nil {
		return "", fmt.Errorf("sign a principal: %w", err)
	}
	return signed, nil
}

// Verifier verifies signed principals. It is safe for concurrent use.
type Verifier struct {
	parser *jwt.Parser
	secret []byte
	now    func() time.Time
}

// NewVerifier makes a Verifier. It gets the time by calling now.
func NewVerifier(c Config, now func() time.Time) Verifier {
	return Verifier{secret: []byte(c.Secret.Reveal()), parser: newParser(issuer, now), now: now}
}

// newParser makes a parser of tokens that an issuer has signed with HS256. The tokens must have an
// expiry time.
func newParser(issuer string, now func() time.Time, further ...jwt.ParserOption) *jwt.Parser {
	return jwt.NewParser(append(further,
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(issuer),
		jwt.WithExpirationRequired(), jwt.WithLeeway(clockSkew), jwt.WithTimeFunc(now),
	)...)
}

var (
	errMissing = errors.New("the request has no signed principal")
	errOwner   = errors.New("the owner is too long or has control characters")
	errExpired = errors.New("what authenticated the request has expired")
)

// Verify returns the principal in the value of the header. It fails if the value is missing,
// expired, or not signed with the secret, or if the principal has expired.
func (v Verifier) Verify(header string) (Principal, error) {
	if header == "" {
		return Principal{}, errMissing
	}
	var c claims
	_, err := v.parser.ParseWithClaims(header, &c, func(*jwt.Token) (any, error) { return v.secret, nil })
	if err != nil {
		return Principal{}, fmt.Errorf("verify a principal: %w", err)
	}
	p, err := c.principal()
	if err == nil && p.Expired(v.now()) {
		err = errExpired
	}
	if err != nil {
		return Principal{}, fmt.Errorf("verify a principal: %w", err)
	}
	return p, nil
}
