package access

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// IssuerKeys finds the keys with which the OpenID provider signs its tokens.
type IssuerKeys interface {
	// Keys returns the public keys that have an id and suit an algorithm. If the id is empty, it
	// returns all keys that suit the algorithm. It fails with ErrUnknownKey if the provider has no
	// such key, and with Unavailable if the provider's keys cannot be fetched.
	Keys(ctx context.Context, id, algorithm string) ([]crypto.PublicKey, error)

	// Knows reports whether Keys answers without waiting for the provider.
	Knows(id, algorithm string) bool
}

// ErrUnknownKey means that the provider has no such key.
var ErrUnknownKey = errors.New("the provider has no such key")

// leeway is how much the clocks of the issuer and of this machine may differ.
const leeway = 60 * time.Second

// secretMethod is the algorithm of tokens that are signed with AUTH_JWT_SECRET.
const secretMethod = "HS256"

// issuerMethods returns the algorithms that an OpenID provider may sign with: the asymmetric
// algorithms that are in use. HMAC is excluded: an attacker could sign with the provider's public
// key as the secret.
func issuerMethods() []string { return []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} }

// tokens verifies tokens.
type tokens struct {
	cfg    Config
	issuer IssuerKeys
	parser *jwt.Parser
}

func newTokens(cfg Config, d Dependencies) *tokens {
	methods := []string{} // not nil, which would allow every algorithm
	if cfg.Issuer != "" {
		methods = append(methods, issuerMethods()...)
	}
	if cfg.Secret != "" {
		methods = append(methods, secretMethod)
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(methods), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(d.Now), jwt.WithStrictDecoding(),
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	return &tokens{cfg: cfg, issuer: d.Issuer, parser: jwt.NewParser(options...)}
}

// principal returns the principal of a token.
func (t *tokens) principal(ctx context.Context, token string) (principal.Principal, error) {
	claims := jwt.MapClaims{}
	if _, err := t.parser.ParseWithClaims(token, claims, t.keysOf(ctx)); err != nil {
		return principal.Principal{}, translate(err)
	}
	if !datesFit(claims) {
		return principal.Principal{}, invalid("The token has a time after the year 9999: exp and nbf are seconds since 1970.")
	}
	owner, err := claims.GetSubject()
	if err != nil || !principal.ValidOwner(owner) {
		return principal.Principal{}, invalid("The token names no subject, or one that cannot be used.")
	}
	p := principal.Principal{Owner: owner, Scopes: t.scopes(claims)}
	if expires, err := claims.GetExpirationTime(); err == nil && expires != nil { // always true, since the parser requires exp
		p.Expires = expires.Add(leeway)
	}
	return p, nil
}

// knows reports whether a token can be checked without waiting for the provider. It also returns true
// for a malformed token, which is refused without the provider.
func (t *tokens) knows(text string) bool {
	if t.issuer == nil {
		return true
	}
	token, _, err := t.parser.ParseUnverified(text, jwt.MapClaims{})
	if err != nil || token.Method.Alg() == secretMethod {
		return true
	}
	id, _ := token.Header["kid"].(string)
	return t.issuer.Knows(id, token.Method.Alg())
}

// lastDate is the latest exp and nbf that are accepted: 9999-12-31T00:00:00Z. The API returns exp
// plus the leeway in the format of RFC 3339, which has no year after 9999.
const lastDate = 253402214400

// datesFit reports whether exp and nbf are at most lastDate. A much later time overflows in the
// parser, which then treats the time as past.
func datesFit(claims jwt.MapClaims) bool {
	for _, name := range []string{"exp", "nbf"} {
		if at, ok := claims[name].(float64); ok && at > lastDate {
			return false
		}
	}
	return true
}

// keysOf returns the function that finds the keys for a token. The parser calls this function
// before it verifies the signature of the token.
func (t *tokens) keysOf(ctx context.Context) jwt.Keyfunc {
	return func(token *jwt.Token) (any, error) {
		if _, critical := token.Header["crit"]; critical || !isAccessToken(token.Header["typ"]) {
			return nil, invalid("The token is of a kind that is not accepted.")
		}
		if token.Method.Alg() == secretMethod {
			return []byte(t.cfg.Secret.Reveal()), nil
		}
		if issuer, err := token.Claims.GetIssuer(); err != nil || issuer != t.cfg.Issuer {
			return nil, jwt.ErrTokenInvalidIssuer // checked before Keys is called, so that a token of another issuer causes no fetch
		}
		id, _ := token.Header["kid"].(string)
		found, err := t.issuer.Keys(ctx, id, token.Method.Alg())
		if err != nil {
			return nil, err
		}
		set := jwt.VerificationKeySet{}
		for _, key := range found {
			set.Keys = append(set.Keys, key)
		}
		return set, nil
	}
}

// isAccessToken reports whether the typ of a token is JWT, is that of access tokens (RFC 9068,
// section 2.1), or is absent. Tokens of other types, such as logout tokens, are for other
// receivers.
func isAccessToken(typ any) bool {
	if typ == nil {
		return true
	}
	text, _ := typ.(string)
	text = strings.TrimPrefix(strings.ToLower(text), "application/")
	return text == "jwt" || text == "at+jwt"
}

// translate converts an error of the parser to a failure. The text of the parser's error is
// dropped, since it may quote the token.
func translate(err error) error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, jwt.ErrTokenExpired):
		return invalid("The token has expired.")
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return invalid("The token is not valid yet.")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return invalid("The token is meant for another service: its audience differs.")
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return invalid("The token is of another issuer.")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return invalid("The token lacks a claim that is required: exp, or aud.")
	case errors.Is(err, ErrUnknownKey):
		return invalid("The token is signed with a key that the identity provider does not have.")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return invalid("The signature of the token is wrong, or its algorithm is not accepted.")
	default:
		return invalid("The token cannot be read.")
	}
}

// scopes returns the scopes of a token's role. If the token names any scope of Sori, the result
// contains only the scopes that the token names.
func (t *tokens) scopes(claims jwt.MapClaims) []principal.Scope {
	role := principal.Principal{Scopes: principal.UserScopes()}
	if slices.Contains(words(claim(claims, t.cfg.RolesClaim)), t.cfg.AdminRole) {
		role.Scopes = []principal.Scope{principal.Admin}
	}
	named := append(words(claims["scope"]), words(claims["scp"])...)
	narrowed, cut := []principal.Scope{}, false
	for _, scope := range principal.Scopes() {
		if slices.Contains(named, string(scope)) {
			cut = true
			if role.May(scope) {
				narrowed = append(narrowed, scope)
			}
		}
	}
	if cut {
		return narrowed
	}
	return role.Scopes
}

// claim returns a claim by its name or, if no claim has this name, by a dotted path. A name may
// contain dots, for example if it is a URL.
func claim(claims map[string]any, path string) any {
	if value, ok := claims[path]; ok {
		return value
	}
	var value any = claims
	for name := range strings.SplitSeq(path, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[name]
	}
	return value
}

// words returns the values of a claim: the strings of a list, the words of a string (RFC 8693,
// section 4.2), or the names of an object's members, since some providers write roles as an object. A
// member that is false or null does not count.
func words(value any) []string {
	var all []string
	switch value := value.(type) {
	case string:
		return strings.Fields(value)
	case []any:
		for _, v := range value {
			if word, ok := v.(string); ok {
				all = append(all, word)
			}
		}
	case map[string]any:
		for name, given := range value {
			if given != nil && given != false {
				all = append(all, name)
			}
		}
	}
	return all
}
