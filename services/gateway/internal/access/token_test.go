package access_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

const (
	issuer   = "https://id.example.com"
	audience = "sori"
	secret   = "a-secret-of-thirty-two-bytes-0123"
)

// signers has key pairs of a provider, one for each algorithm.
type signers struct {
	rsa     *rsa.PrivateKey
	p256    *ecdsa.PrivateKey
	p384    *ecdsa.PrivateKey
	ed25519 ed25519.PrivateKey
}

var pairs = sync.OnceValue(func() signers {
	var s signers
	s.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	s.p256, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.p384, _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, s.ed25519, _ = ed25519.GenerateKey(rand.Reader)
	return s
})

// published has the public keys of a provider, by id and algorithm.
type published map[string]crypto.PublicKey

func (p published) Keys(_ context.Context, id, algorithm string) ([]crypto.PublicKey, error) {
	if key, ok := p[id+" "+algorithm]; ok {
		return []crypto.PublicKey{key}, nil
	}
	return nil, access.ErrUnknownKey
}

func (p published) Knows(id, algorithm string) bool { return p[id+" "+algorithm] != nil }

// authenticator accepts tokens of a provider and of a shared secret.
func authenticator(changes func(*access.Config)) *access.Authenticator {
	s := pairs()
	cfg := access.Config{Issuer: issuer, Audience: audience, Secret: secret, RolesClaim: "roles", AdminRole: "sori-admin"}
	if changes != nil {
		changes(&cfg)
	}
	return access.New(cfg, access.Dependencies{Keys: newKeyStore(), Now: time.Now, Issuer: published{
		"r RS256": s.rsa.Public(), "r PS256": s.rsa.Public(), "e ES256": s.p256.Public(), "f ES384": s.p384.Public(),
		"d EdDSA": s.ed25519.Public(),
	}})
}

// claims returns the claims of alice, with changes. A nil value removes a claim.
func claims(changes jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"iss": issuer, "aud": audience, "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func sign(t *testing.T, method jwt.SigningMethod, key any, header map[string]any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func bearer(text string) access.Credentials {
	return access.Credentials{Authorization: []string{"Bearer " + text}}
}

func TestATokenOfTheProviderOrOfTheSecretProvesItsSubject(t *testing.T) {
	t.Parallel()
	s := pairs()
	kid := func(id string) map[string]any { return map[string]any{"kid": id} }
	now := time.Now()
	for name, token := range map[string]string{
		"RS256":                     sign(t, jwt.SigningMethodRS256, s.rsa, kid("r"), claims(nil)),
		"PS256":                     sign(t, jwt.SigningMethodPS256, s.rsa, kid("r"), claims(nil)),
		"ES256":                     sign(t, jwt.SigningMethodES256, s.p256, kid("e"), claims(nil)),
		"ES384":                     sign(t, jwt.SigningMethodES384, s.p384, kid("f"), claims(nil)),
		"EdDSA":                     sign(t, jwt.SigningMethodEdDSA, s.ed25519, kid("d"), claims(nil)),
		"HS256":                     sign(t, jwt.SigningMethodHS256, []byte(secret), nil, claims(jwt.MapClaims{"iss": nil})),
		"one audience of several":   sign(t, jwt.SigningMethodRS256, s.rsa, kid("r"), claims(jwt.MapClaims{"aud": []string{"x", audience}})),
		"an access token by RFC":    sign(t, jwt.SigningMethodRS256, s.rsa, map[string]any{"kid": "r", "typ": "at+jwt"}, claims(nil)),
		"expired within the leeway": sign(t, jwt.SigningMethodRS256, s.rsa, kid("r"), claims(jwt.MapClaims{"exp": now.Add(-50 * time.Second).Unix()})),
		"valid within the leeway":   sign(t, jwt.SigningMethodRS256, s.rsa, kid("r"), claims(jwt.MapClaims{"nbf": now.Add(50 * time.Second).Unix()})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := authenticator(nil).Authenticate(t.Context(), bearer(token))
			if err != nil || p.Owner != "alice" || !slices.Equal(p.Scopes, principal.UserScopes()) || p.KeyID != "" {
				t.Errorf("%+v, %v", p, err)
			}
			if p.Expires.Before(now) || p.Expires.After(now.Add(2*time.Hour)) { // the principal expires with the token, which ends its streams
				t.Errorf("it expires at %v", p.Expires)
			}
		})
	}
}

// hostileTokens returns tokens that must not be accepted, with words that the failure must contain.
func hostileTokens(t *testing.T) map[string][2]string {
	t.Helper()
	s := pairs()
	of := func(changes jwt.MapClaims) string {
		return sign(t, jwt.SigningMethodRS256, s.rsa, map[string]any{"kid": "r"}, claims(changes))
	}
	header := func(h map[string]any) string { return sign(t, jwt.SigningMethodRS256, s.rsa, h, claims(nil)) }
	attacker, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	foreign := func(h map[string]any) string { return sign(t, jwt.SigningMethodRS256, attacker, h, claims(nil)) }
	der, _ := x509.MarshalPKIXPublicKey(s.rsa.Public())
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good, now := of(nil), time.Now()
	parts := strings.Split(good, ".")
	const signature, unreadable, subject = "signature", "cannot be read", "subject"
	return map[string][2]string{
		"alg none":                      {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, claims(nil)), signature},
		"alg none with a signature":     {strings.Split(sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, claims(nil)), ".")[0] + "." + parts[1] + "." + parts[2], signature},
		"HS256 with the public key":     {sign(t, jwt.SigningMethodHS256, public, map[string]any{"kid": "r"}, claims(nil)), signature},
		"HS256 with the key's DER":      {sign(t, jwt.SigningMethodHS256, der, map[string]any{"kid": "r"}, claims(nil)), signature},
		"HS256 with the modulus":        {sign(t, jwt.SigningMethodHS256, s.rsa.N.Bytes(), map[string]any{"kid": "r"}, claims(nil)), signature},
		"HS256 with an empty secret":    {sign(t, jwt.SigningMethodHS256, []byte{}, nil, claims(nil)), signature},
		"HS512 with the secret":         {sign(t, jwt.SigningMethodHS512, []byte(secret), nil, claims(nil)), signature},
		"RS512, which is not accepted":  {sign(t, jwt.SigningMethodRS512, s.rsa, map[string]any{"kid": "r"}, claims(nil)), signature},
		"another RSA key":               {foreign(map[string]any{"kid": "r"}), signature},
		"jku of the attacker":           {foreign(map[string]any{"kid": "r", "jku": "https://evil.example.com/keys"}), signature},
		"x5u of the attacker":           {foreign(map[string]any{"kid": "r", "x5u": "https://evil.example.com/cert"}), signature},
		"jwk of the attacker":           {foreign(map[string]any{"kid": "r", "jwk": map[string]any{"kty": "RSA", "n": "AQAB", "e": "AQAB"}}), signature},
		"unknown kid":                   {header(map[string]any{"kid": "nobody"}), "does not have"},
		"kid that is a path":            {header(map[string]any{"kid": "../../../../dev/null"}), "does not have"},
		"kid that is SQL":               {header(map[string]any{"kid": "r' OR '1'='1"}), "does not have"},
		"kid that is a number":          {header(map[string]any{"kid": 1}), "does not have"},
		"crit":                          {header(map[string]any{"kid": "r", "crit": []string{"exp"}}), "kind"},
		"a logout token":                {header(map[string]any{"kid": "r", "typ": "logout+jwt"}), "kind"},
		"typ that is no text":           {header(map[string]any{"kid": "r", "typ": 7}), "kind"},
		"expired":                       {of(jwt.MapClaims{"exp": now.Add(-2 * time.Minute).Unix()}), "expired"},
		"without exp":                   {of(jwt.MapClaims{"exp": nil}), "exp"},
		"exp that is text":              {of(jwt.MapClaims{"exp": "tomorrow"}), unreadable},
		"exp in milliseconds":           {of(jwt.MapClaims{"exp": now.Add(time.Hour).UnixMilli()}), "9999"},
		"exp in the year 10000":         {of(jwt.MapClaims{"exp": 253402300800}), "9999"},
		"nbf beyond all times":          {of(jwt.MapClaims{"nbf": 1e300}), "9999"},
		"the secret's without exp":      {sign(t, jwt.SigningMethodHS256, []byte(secret), nil, claims(jwt.MapClaims{"exp": nil})), "exp"},
		"nbf in the future":             {of(jwt.MapClaims{"nbf": now.Add(2 * time.Minute).Unix()}), "not valid yet"},
		"another issuer":                {of(jwt.MapClaims{"iss": "https://evil.example.com"}), "issuer"},
		"the issuer with a slash":       {of(jwt.MapClaims{"iss": issuer + "/"}), "issuer"},
		"no issuer":                     {of(jwt.MapClaims{"iss": nil}), "issuer"},
		"a list of issuers":             {of(jwt.MapClaims{"iss": []string{issuer}}), "issuer"},
		"another audience":              {of(jwt.MapClaims{"aud": "another"}), "audience"},
		"other audiences":               {of(jwt.MapClaims{"aud": []string{"a", "b", audience + "x"}}), "audience"},
		"no audience":                   {of(jwt.MapClaims{"aud": nil}), "aud"},
		"the secret's, not for Sori":    {sign(t, jwt.SigningMethodHS256, []byte(secret), nil, claims(jwt.MapClaims{"aud": "another"})), "audience"},
		"without a subject":             {of(jwt.MapClaims{"sub": nil}), subject},
		"an empty subject":              {of(jwt.MapClaims{"sub": ""}), subject},
		"a subject that is a number":    {of(jwt.MapClaims{"sub": 7}), subject},
		"a subject with a line break":   {of(jwt.MapClaims{"sub": "alice\nroot"}), subject},
		"a subject that is no UTF-8":    {of(jwt.MapClaims{"sub": "alice\xff"}), subject},
		"a subject with half a letter":  {of(jwt.MapClaims{"sub": json.RawMessage(`"alice\ud800"`)}), subject},
		"a subject of 256 bytes":        {of(jwt.MapClaims{"sub": strings.Repeat("x", 256)}), subject},
		"the signature cut":             {parts[0] + "." + parts[1] + "." + parts[2][:40], signature},
		"a signature that is no base64": {parts[0] + "." + parts[1] + "." + parts[2][:41], unreadable}, // 4n+1 digits are no bytes
		"no signature":                  {parts[0] + "." + parts[1] + ".", signature},
		"other claims":                  {parts[0] + "." + strings.Split(of(jwt.MapClaims{"sub": "root"}), ".")[1] + "." + parts[2], signature},
		"two parts":                     {parts[0] + "." + parts[1], unreadable},
		"four parts":                    {good + ".x", unreadable},
		"no token":                      {"nothing", unreadable},
		"ten thousand dots":             {strings.Repeat(".", 10_000), unreadable},
		"a header that is no object":    {"W10." + parts[1] + "." + parts[2], unreadable},
		"of an API key that is cut":     {"sori_", "API key"},
		"of an API key with a long id":  {"sori_" + strings.Repeat("a", 5000) + "_" + strings.Repeat("a", 64), "API key"},
		"of an API key that is unknown": {"sori_" + strings.Repeat("a", 16) + "_" + strings.Repeat("a", 64), "API key"},
	}
}

func TestAHostileTokenProvesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range hostileTokens(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, words := c[0], c[1]
			p, err := authenticator(nil).Authenticate(t.Context(), bearer(token))
			f := fault.As(err)
			if err == nil || f.Kind != fault.Unauthenticated || f.Code != "invalid-token" || !strings.Contains(f.Detail, words) {
				t.Fatalf("%+v, %v; the answer should say %q", p, err, words)
			}
			if !reflect.DeepEqual(p, principal.Principal{}) {
				t.Errorf("a principal comes with the failure: %+v", p)
			}
			for _, part := range strings.Split(token, ".") {
				if len(part) > 8 && strings.Contains(err.Error(), part) {
					t.Errorf("the failure tells a part of the token: %v", err)
				}
			}
		})
	}
}

func TestAMethodThatIsNotConfiguredIsNotAccepted(t *testing.T) {
	t.Parallel()
	s := pairs()
	ofProvider := sign(t, jwt.SigningMethodRS256, s.rsa, map[string]any{"kid": "r"}, claims(nil))
	ofSecret := sign(t, jwt.SigningMethodHS256, []byte(secret), nil, claims(nil))
	emptySecret := sign(t, jwt.SigningMethodHS256, []byte{}, nil, claims(nil))
	for name, c := range map[string]struct {
		change  func(*access.Config)
		refused []string
	}{
		"the secret alone":   {func(c *access.Config) { c.Issuer = "" }, []string{ofProvider, emptySecret}},
		"the provider alone": {func(c *access.Config) { c.Secret = "" }, []string{ofSecret, emptySecret}},
		"API keys alone":     {func(c *access.Config) { *c = access.Config{APIKeys: true} }, []string{ofProvider, ofSecret, emptySecret}},
	} {
		for _, token := range c.refused {
			if p, err := authenticator(c.change).Authenticate(t.Context(), bearer(token)); !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("%s: %+v, %v", name, p, err)
			}
		}
	}
}

func TestARequestHasOneCredential(t *testing.T) {
	t.Parallel()
	good := "Bearer " + sign(t, jwt.SigningMethodHS256, []byte(secret), nil, claims(nil))
	const key = "sori_0000000000000000_0000"
	for name, c := range map[string]struct {
		given access.Credentials
		code  string
	}{
		"none":                     {access.Credentials{}, "unauthenticated"},
		"two Authorization":        {access.Credentials{Authorization: []string{good, good}}, "malformed-request"},
		"two X-API-Key":            {access.Credentials{APIKey: []string{key, key}}, "malformed-request"},
		"Authorization and a key":  {access.Credentials{Authorization: []string{good}, APIKey: []string{key}}, "malformed-request"},
		"Basic":                    {access.Credentials{Authorization: []string{"Basic YWxpY2U6eA=="}}, "invalid-token"},
		"Bearer alone":             {access.Credentials{Authorization: []string{"Bearer"}}, "invalid-token"},
		"an empty Authorization":   {access.Credentials{Authorization: []string{""}}, "invalid-token"},
		"an empty X-API-Key":       {access.Credentials{APIKey: []string{""}}, "invalid-token"},
		"a token in X-API-Key":     {access.Credentials{APIKey: []string{strings.TrimPrefix(good, "Bearer ")}}, "invalid-token"},
		"two credentials, a comma": {access.Credentials{Authorization: []string{good + ", " + good}}, "invalid-token"},
	} {
		if _, err := authenticator(nil).Authenticate(t.Context(), c.given); err == nil || fault.As(err).Code != c.code {
			t.Errorf("%s: %v, not %s", name, err, c.code)
		}
	}
	if _, err := authenticator(nil).Authenticate(t.Context(), access.Credentials{Authorization: []string{"bearer  " + good[7:]}}); err != nil {
		t.Errorf("the scheme in lower case: %v", err)
	}
}

func TestTheRoleGivesScopesAndTheTokenNarrowsThem(t *testing.T) {
	t.Parallel()
	const read, write, catalogue, admin = principal.JobsRead, principal.JobsWrite, principal.CatalogueWrite, principal.Admin
	for name, c := range map[string]struct {
		claim  string // AUTH_ROLES_CLAIM
		claims jwt.MapClaims
		want   []principal.Scope
	}{
		"no role":                    {"roles", nil, principal.UserScopes()},
		"another role":               {"roles", jwt.MapClaims{"roles": []string{"admin", "sori-admins"}}, principal.UserScopes()},
		"an admin":                   {"roles", jwt.MapClaims{"roles": []string{"x", "sori-admin"}}, []principal.Scope{admin}},
		"a role as text":             {"roles", jwt.MapClaims{"roles": "sori-admin"}, []principal.Scope{admin}},
		"roles as words":             {"roles", jwt.MapClaims{"roles": "x sori-admin"}, []principal.Scope{admin}},
		"roles as members":           {"roles", jwt.MapClaims{"roles": map[string]any{"sori-admin": map[string]any{}}}, []principal.Scope{admin}},
		"a member that is false":     {"roles", jwt.MapClaims{"roles": map[string]any{"sori-admin": false}}, principal.UserScopes()},
		"a member that is null":      {"roles", jwt.MapClaims{"roles": map[string]any{"sori-admin": nil}}, principal.UserScopes()},
		"a path":                     {"realm_access.roles", jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"sori-admin"}}}, []principal.Scope{admin}},
		"a name with dots":           {"https://x.example/roles", jwt.MapClaims{"https://x.example/roles": []string{"sori-admin"}}, []principal.Scope{admin}},
		"a path through text":        {"realm_access.roles", jwt.MapClaims{"realm_access": "sori-admin"}, principal.UserScopes()},
		"a role in another claim":    {"groups", jwt.MapClaims{"roles": []string{"sori-admin"}}, principal.UserScopes()},
		"scopes of others":           {"roles", jwt.MapClaims{"scope": "openid profile"}, principal.UserScopes()},
		"one scope":                  {"roles", jwt.MapClaims{"scope": "openid jobs:read"}, []principal.Scope{read}},
		"scp as a list":              {"roles", jwt.MapClaims{"scp": []string{"jobs:read", "jobs:write"}}, []principal.Scope{read, write}},
		"more than the role has":     {"roles", jwt.MapClaims{"scope": "catalogue:write admin"}, nil},
		"a narrow admin":             {"roles", jwt.MapClaims{"roles": "sori-admin", "scope": "catalogue:write"}, []principal.Scope{catalogue}},
		"an admin who asks for it":   {"roles", jwt.MapClaims{"roles": "sori-admin", "scope": "admin"}, []principal.Scope{admin}},
		"scopes that are no text":    {"roles", jwt.MapClaims{"scope": 7, "scp": []any{7, nil}}, principal.UserScopes()},
		"a scope is no role":         {"roles", jwt.MapClaims{"scope": "sori-admin"}, principal.UserScopes()},
		"roles that are not text":    {"roles", jwt.MapClaims{"roles": []any{7, true}}, principal.UserScopes()},
		"a role in the wrong letter": {"roles", jwt.MapClaims{"roles": "Sori-Admin"}, principal.UserScopes()},
	} {
		a := authenticator(func(cfg *access.Config) { cfg.RolesClaim = c.claim })
		p, err := a.Authenticate(t.Context(), bearer(sign(t, jwt.SigningMethodHS256, []byte(secret), nil, claims(c.claims))))
		if err != nil || !slices.Equal(p.Scopes, c.want) {
			t.Errorf("%s: %v, %v; not %v", name, p.Scopes, err, c.want)
		}
	}
}

func TestAnOpenInstanceTakesEverybodyForAnAdmin(t *testing.T) {
	t.Parallel()
	a := authenticator(func(c *access.Config) { *c = access.Config{} })
	for _, c := range []access.Credentials{{}, bearer("x"), {Authorization: []string{"a", "b"}}} {
		if p, err := a.Authenticate(t.Context(), c); err != nil || !p.May(principal.Admin) || p.Owner != "" {
			t.Errorf("%+v, %v", p, err)
		}
	}
}

func TestTheSettingsOfAccessAreChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		vars map[string]string
		addr string
		want string // words that the failure must contain; empty for no failure
	}{
		"nothing on loopback":        {nil, "127.0.0.1:0", ""},
		"nothing on IPv6 loopback":   {nil, "[::1]:8000", ""},
		"nothing on localhost":       {nil, "localhost:8000", ""},
		"nothing on all interfaces":  {nil, ":8000", "AUTH_DISABLED=true"},
		"nothing on a network":       {nil, "10.0.0.7:8000", "AUTH_DISABLED=true"},
		"nothing on 0.0.0.0":         {nil, "0.0.0.0:8000", "AUTH_DISABLED=true"},
		"nothing on a host":          {nil, "localhost.example.com:8000", "AUTH_DISABLED=true"},
		"disabled":                   {map[string]string{"AUTH_DISABLED": "true"}, ":8000", ""},
		"API keys":                   {map[string]string{"AUTH_API_KEYS": "true"}, ":8000", ""},
		"a secret":                   {map[string]string{"AUTH_JWT_SECRET": strings.Repeat("x", 32)}, ":8000", ""},
		"a short secret":             {map[string]string{"AUTH_JWT_SECRET": strings.Repeat("x", 31)}, ":8000", "at least 32 bytes"},
		"a provider":                 {map[string]string{"OIDC_ISSUER": "https://id.example.com", "OIDC_AUDIENCE": "sori"}, ":8000", ""},
		"a provider of this machine": {map[string]string{"OIDC_ISSUER": "http://127.0.0.1:9/x", "OIDC_AUDIENCE": "sori"}, ":8000", ""},
		"a provider without TLS":     {map[string]string{"OIDC_ISSUER": "http://id.example.com", "OIDC_AUDIENCE": "sori"}, ":8000", "OIDC_ISSUER must be"},
		"a provider, no audience":    {map[string]string{"OIDC_ISSUER": "https://id.example.com"}, ":8000", "OIDC_AUDIENCE is required"},
		"disabled and a method":      {map[string]string{"AUTH_DISABLED": "true", "AUTH_API_KEYS": "true"}, ":8000", "AUTH_DISABLED excludes"},
	} {
		var cfg access.Config
		err := config.Load(config.Map(c.vars), &cfg)
		if err == nil {
			err = cfg.CheckAddress(c.addr)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, not %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), strings.Repeat("x", 31)) {
			t.Errorf("%s: the failure tells the secret: %v", name, err)
		}
	}
}

func FuzzNoTokenWithoutTheKeyProvesAnything(f *testing.F) {
	f.Add("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.AAAA")
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.")
	f.Add("sori_0123456789abcdef_" + strings.Repeat("0", 64))
	f.Add("....")
	a := authenticator(nil)
	f.Fuzz(func(t *testing.T, token string) {
		p, err := a.Authenticate(t.Context(), bearer(token))
		if !fault.Is(err, fault.Unauthenticated) || len(p.Scopes) > 0 || p.Owner != "" {
			t.Errorf("%q: %+v, %v", token, p, err)
		}
	})
}
