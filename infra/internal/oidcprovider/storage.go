package oidcprovider

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	keyBits         = 2048
	publishedKeys   = 2 // number of keys: the signing key and the previous one
	requestValidity = 10 * time.Minute
	refreshValidity = 12 * time.Hour
)

// storage contains the data of the provider, in memory. It implements op.Storage.
type storage struct {
	options Options

	mu       sync.Mutex
	keys     []signingKey // the first key signs tokens
	requests map[string]*authRequest
	codes    map[string]string // ids of requests, by code
	refresh  map[string]*refreshToken
}

func newStorage(o Options) (*storage, error) {
	s := &storage{options: o, requests: map[string]*authRequest{}, codes: map[string]string{}, refresh: map[string]*refreshToken{}}
	return s, s.rotate()
}

func (s *storage) rotate() error {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append([]signingKey{{id: uuid.NewString(), private: private}}, s.keys...)
	s.keys = s.keys[:min(len(s.keys), publishedKeys)]
	return nil
}

// user returns the user with the name.
func (s *storage) user(name string) (User, bool) {
	i := slices.IndexFunc(s.options.Users, func(u User) bool { return u.Name == name })
	if i < 0 {
		return User{}, false
	}
	return s.options.Users[i], true
}

// signIn completes a request if the name and the password are right, and reports whether they are.
func (s *storage) signIn(id, name, password string) bool {
	u, known := s.user(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.requests[id]
	if r == nil || !known || u.Password == "" || subtle.ConstantTimeCompare([]byte(password), []byte(u.Password)) != 1 {
		return false
	}
	r.subject, r.at = name, time.Now()
	return true
}

// signingKey implements op.SigningKey.
type signingKey struct {
	id      string
	private *rsa.PrivateKey
}

func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k signingKey) Key() any                                    { return k.private }
func (k signingKey) ID() string                                  { return k.id }

// publicKey implements op.Key.
type publicKey struct{ signingKey }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return &k.private.PublicKey }

// authRequest is a request to sign in. It implements op.AuthRequest.
type authRequest struct {
	oidc.AuthRequest

	id       string
	audience string
	began    time.Time
	subject  string // empty until the user has signed in
	at       time.Time
}

func (r *authRequest) GetID() string          { return r.id }
func (r *authRequest) GetACR() string         { return "" }
func (r *authRequest) GetAMR() []string       { return []string{"pwd"} }
func (r *authRequest) GetAudience() []string  { return []string{r.audience, r.ClientID} }
func (r *authRequest) GetAuthTime() time.Time { return r.at }
func (r *authRequest) GetClientID() string    { return r.ClientID }
func (r *authRequest) GetNonce() string       { return r.Nonce }
func (r *authRequest) GetScopes() []string    { return r.Scopes }
func (r *authRequest) GetSubject() string     { return r.subject }
func (r *authRequest) Done() bool             { return r.subject != "" }
func (r *authRequest) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod}
}

// refreshToken implements op.RefreshTokenRequest.
type refreshToken struct {
	authRequest

	expires time.Time
}

func (t *refreshToken) SetCurrentScopes(scopes []string) { t.Scopes = scopes }

var (
	errUnknown = errors.New("it is unknown or has expired")
	errPKCE    = oidc.ErrInvalidRequest().WithDescription("code_challenge is required, with the method S256")
)

// CreateAuthRequest implements op.Storage.
func (s *storage) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if slices.Contains(r.Prompt, oidc.PromptNone) {
		return nil, oidc.ErrLoginRequired()
	}
	if r.CodeChallenge == "" || r.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, errPKCE // PKCE is required, since the client has no secret
	}
	made := &authRequest{AuthRequest: *r, id: uuid.NewString(), audience: s.options.Audience, began: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, old := range s.requests {
		if time.Since(old.began) > requestValidity {
			delete(s.requests, id)
		}
	}
	s.requests[made.id] = made
	return made, nil
}

// AuthRequestByID implements op.Storage.
func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.requests[id]; r != nil {
		found := *r
		return &found, nil
	}
	return nil, errUnknown
}

// AuthRequestByCode implements op.Storage. A code can be used only once.
func (s *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	id := s.codes[code]
	delete(s.codes, code)
	s.mu.Unlock()
	return s.AuthRequestByID(ctx, id)
}

// SaveAuthCode implements op.Storage.
func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	return nil
}

// DeleteAuthRequest implements op.Storage.
func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	return nil
}

// CreateAccessToken implements op.Storage.
func (s *storage) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return uuid.NewString(), time.Now().Add(s.options.Validity), nil
}

// CreateAccessAndRefreshTokens implements op.Storage. A refresh token can be used only once.
func (s *storage) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (access, refresh string, expires time.Time, err error) {
	made := &refreshToken{expires: time.Now().Add(refreshValidity)}
	switch r := r.(type) {
	case *authRequest:
		made.authRequest = *r
	case *refreshToken:
		made.authRequest = r.authRequest
	default:
		return "", "", time.Time{}, errUnknown
	}
	refresh = uuid.NewString()
	s.mu.Lock()
	delete(s.refresh, current)
	s.refresh[refresh] = made
	s.mu.Unlock()
	access, expires, err = s.CreateAccessToken(ctx, r)
	return access, refresh, expires, err
}

// TokenRequestByRefreshToken implements op.Storage.
func (s *storage) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.refresh[token]
	if t == nil || time.Now().After(t.expires) {
		return nil, errUnknown
	}
	found := *t
	return &found, nil
}

// TerminateSession implements op.Storage. The provider calls it when the user signs out.
func (s *storage) TerminateSession(_ context.Context, user, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, t := range s.refresh {
		if t.subject == user {
			delete(s.refresh, token)
		}
	}
	return nil
}

// RevokeToken implements op.Storage.
func (s *storage) RevokeToken(_ context.Context, token, _, _ string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refresh, token)
	return nil
}

// GetRefreshTokenInfo implements op.Storage.
func (s *storage) GetRefreshTokenInfo(_ context.Context, _, token string) (user, id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.refresh[token]; t != nil {
		return t.subject, token, nil
	}
	return "", "", op.ErrInvalidRefreshToken
}

// SigningKey implements op.Storage.
func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[0], nil
}

// SignatureAlgorithms implements op.Storage.
func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet implements op.Storage.
func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]op.Key, len(s.keys))
	for i, k := range s.keys {
		keys[i] = publicKey{k}
	}
	return keys, nil
}

// GetClientByClientID implements op.Storage.
func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != s.options.ClientID {
		return nil, errUnknown
	}
	return client{s.options}, nil
}

// AuthorizeClientIDSecret implements op.Storage. The client has no secret.
func (s *storage) AuthorizeClientIDSecret(context.Context, string, string) error { return errUnknown }

// SetUserinfoFromScopes implements op.Storage.
func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest implements op.CanSetUserinfoFromRequest. It sets the claims of ID tokens.
func (s *storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, _ []string) error {
	return s.describe(info, r.GetSubject())
}

// SetUserinfoFromToken implements op.Storage. It sets the claims in the answer of the userinfo
// endpoint.
func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, _, subject, _ string) error {
	return s.describe(info, subject)
}

func (s *storage) describe(info *oidc.UserInfo, name string) error {
	u, ok := s.user(name)
	if !ok {
		return errUnknown
	}
	info.Subject, info.PreferredUsername, info.Name = u.Name, u.Name, u.Name
	info.AppendClaims("roles", u.Roles)
	return nil
}

// SetIntrospectionFromToken implements op.Storage. A public client may not introspect.
func (s *storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errUnknown
}

// GetPrivateClaimsFromScopes implements op.Storage. It returns the claims of access tokens besides
// the standard ones.
func (s *storage) GetPrivateClaimsFromScopes(_ context.Context, name, _ string, _ []string) (map[string]any, error) {
	u, ok := s.user(name)
	if !ok {
		return nil, errUnknown
	}
	return map[string]any{"roles": u.Roles}, nil
}

// GetKeyByIDAndClientID implements op.Storage. The client has no keys.
func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errUnknown
}

// ValidateJWTProfileScopes implements op.Storage. The provider does not offer the JWT profile
// grant.
func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errUnknown
}

// Health implements op.Storage.
func (s *storage) Health(context.Context) error { return nil }

// client is the only client, a page of a browser. It implements op.Client.
type client struct{ o Options }

func (c client) GetID() string                       { return c.o.ClientID }
func (c client) RedirectURIs() []string              { return c.o.RedirectURIs }
func (c client) PostLogoutRedirectURIs() []string    { return c.o.RedirectURIs }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative } // a native client may use http on loopback
func (c client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodNone }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
}
func (c client) LoginURL(id string) string            { return loginPath + "?id=" + id }
func (c client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeJWT }
func (c client) IDTokenLifetime() time.Duration       { return c.o.Validity }
func (c client) DevMode() bool                        { return false }
func (c client) IsScopeAllowed(string) bool           { return true } // only Sori uses this provider
func (c client) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c client) ClockSkew() time.Duration             { return 0 }
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string { //nolint:revive // the library's name
	return func(scopes []string) []string { return scopes }
}
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}
