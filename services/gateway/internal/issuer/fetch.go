package issuer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/MicahParks/jwkset"

	"sori.internal/services/gateway/internal/access"
)

// The limits of a fetch.
const (
	requestTimeout = 5 * time.Second
	maxDocument    = 1 << 20 // bytes
	maxKeys        = 64
	maxRedirects   = 3
	minRSABits     = 2048 // RFC 7518, section 3.3
)

func newClient() *http.Client {
	return &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: requestTimeout}).DialContext,
			TLSHandshakeTimeout: requestTimeout, MaxIdleConns: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || !access.SecureURL(r.URL.String()) {
				return errors.New("the redirect is not followed")
			}
			return nil
		},
	}
}

// fetch fetches the keys of the provider.
func (k *Keys) fetch(ctx context.Context) ([]key, error) {
	var provider struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := k.get(ctx, strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration", &provider); err != nil {
		return nil, err
	}
	if provider.Issuer != k.issuer {
		return nil, fmt.Errorf("the provider calls itself %.200q: OIDC_ISSUER must be the same", provider.Issuer)
	}
	if !access.SecureURL(provider.JWKSURI) {
		return nil, errors.New("the jwks_uri of the provider is no https URL")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, provider.JWKSURI, &set); err != nil {
		return nil, err
	}
	keys := parse(set.Keys)
	if len(keys) == 0 {
		return nil, errors.New("the provider has no key for signatures that are accepted")
	}
	return keys, nil
}

// get fetches a JSON document.
func (k *Keys) get(ctx context.Context, url string, document any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", url, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return fmt.Errorf("fetch from the identity provider: %w", err) // err contains the URL
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch %s: status %d", url, resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return fmt.Errorf("fetch %s: %w", url, err)
	}
	if len(text) > maxDocument {
		return fmt.Errorf("fetch %s: the answer is larger than %d bytes", url, maxDocument)
	}
	if err := json.Unmarshal(text, document); err != nil {
		return fmt.Errorf("fetch %s: %w", url, err)
	}
	return nil
}

// parse returns the keys that verify signatures. Other keys are skipped: a provider may also
// publish keys for encryption, and keys of types that are not accepted.
func parse(set []json.RawMessage) []key {
	var keys []key
	for _, raw := range set {
		var m jwkset.JWKMarshal
		if len(keys) == maxKeys || json.Unmarshal(raw, &m) != nil || m.USE == jwkset.UseEnc {
			continue
		}
		m.X5C, m.X5T, m.X5TS256, m.X5U = nil, "", "", "" // certificates of keys are not used
		jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipUse: true, SkipKeyOps: true})
		if err == nil && usable(jwk.Key()) {
			keys = append(keys, key{id: m.KID, algorithm: m.ALG.String(), public: jwk.Key()})
		}
	}
	return keys
}

func usable(public crypto.PublicKey) bool {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	default:
		return false
	}
}

// fits reports whether a key is of the type that an algorithm signs with.
func fits(public crypto.PublicKey, algorithm string) bool {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return algorithm == "RS256" || algorithm == "PS256"
	case *ecdsa.PublicKey:
		return algorithm == "ES256" && public.Curve == elliptic.P256() || algorithm == "ES384" && public.Curve == elliptic.P384()
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	default:
		return false
	}
}
