package issuer_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/issuer"
	"sori.internal/shared/fault"
)

// provider is the part of an OpenID provider that publishes keys.
type provider struct {
	*httptest.Server

	mu        sync.Mutex
	keys      []jwkset.JWKMarshal
	discovery func(w http.ResponseWriter) // if set, answers the discovery request
	set       func(w http.ResponseWriter) // if set, answers the request for the key set
	fetches   int                         // number of fetches of the keys
	waiting   chan struct{}               // receives a value when an answer is delayed
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{waiting: make(chan struct{}, 100)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		discovery, set, keys := p.discovery, p.set, p.keys
		isSet := r.URL.Path == "/keys"
		if isSet {
			p.fetches++
		}
		p.mu.Unlock()
		switch {
		case isSet && set != nil:
			set(w)
		case isSet:
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
		case r.URL.Path != "/.well-known/openid-configuration":
			http.NotFound(w, r)
		case discovery != nil:
			discovery(w)
		default:
			p.describe(w, p.URL, p.URL+"/keys")
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) describe(w http.ResponseWriter, name, keys string) {
	_ = json.NewEncoder(w).Encode(map[string]string{"issuer": name, "jwks_uri": keys})
}

// change changes the answers of the provider.
func (p *provider) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *provider) fetched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// publish replaces the keys by new keys with ids.
func (p *provider) publish(t *testing.T, ids ...string) {
	t.Helper()
	var keys []jwkset.JWKMarshal
	for _, id := range ids {
		keys = append(keys, marshal(t, newKey(t), id, ""))
	}
	p.change(func() { p.keys = keys })
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func marshal(t *testing.T, private crypto.Signer, id string, algorithm jwkset.ALG) jwkset.JWKMarshal {
	t.Helper()
	jwk, err := jwkset.NewJWKFromKey(private.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: id, ALG: algorithm}})
	if err != nil {
		t.Fatal(err)
	}
	return jwk.Marshal()
}

// run fetches the keys of a provider until the test ends.
func run(t *testing.T, url string) *issuer.Keys {
	t.Helper()
	k := issuer.New(url, zerolog.Nop())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	return k
}

// need fails the test unless Keys finds exactly one key with the id.
func need(t *testing.T, k *issuer.Keys, id string) {
	t.Helper()
	if found, err := k.Keys(t.Context(), id, "ES256"); err != nil || len(found) != 1 {
		t.Fatalf("the key %q: %d, %v", id, len(found), err)
	}
}

func TestKeysAreFoundByDiscoveryAndByAlgorithm(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encryption, any, both := marshal(t, newKey(t), "enc", ""), marshal(t, newKey(t), "any", ""), marshal(t, newKey(t), "sig", "")
	encryption.USE, both.USE, both.KEYOPS = jwkset.UseEnc, jwkset.UseSig, []jwkset.KEYOPS{jwkset.KeyOpsVerify}
	any.X5U = "http://127.0.0.1:1/certificate" // not fetched
	p.change(func() {
		p.keys = []jwkset.JWKMarshal{
			marshal(t, large, "rs", "RS256"), marshal(t, large, "r", ""), any, encryption, both,
			{KTY: "oct", KID: "secret", K: "AAAA"}, {KTY: "RSA", KID: "small", N: "3QAB", E: "AQAB"}, {KTY: "what", KID: "odd"},
			{KTY: "EC", KID: "off", CRV: "P-256", X: "AQAB", Y: "AQAB"},
		}
	})
	k := run(t, p.URL)
	for _, c := range []struct {
		id, algorithm string
		n             int
	}{
		{"rs", "RS256", 1}, {"rs", "PS256", 0}, {"r", "RS256", 1}, {"r", "PS256", 1}, {"r", "ES256", 0}, {"any", "ES256", 1}, {"any", "ES384", 0},
		{"sig", "ES256", 1}, {"enc", "ES256", 0}, {"secret", "HS256", 0}, {"small", "RS256", 0}, {"odd", "RS256", 0}, {"off", "ES256", 0},
		{"", "ES256", 2}, {"", "RS256", 2}, {"", "EdDSA", 0},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if c.n == 0 {
			cancel() // so that Keys does not wait for a fetch, which would find no key either
		}
		found, err := k.Keys(ctx, c.id, c.algorithm)
		if len(found) != c.n || c.n == 0 && !errors.Is(err, access.ErrUnknownKey) {
			t.Errorf("%q for %s: %d keys, %v", c.id, c.algorithm, len(found), err)
		}
		cancel()
	}
}

func TestARotationIsNoticedByTheFirstTokenOfTheNewKey(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.publish(t, "old")
	k := run(t, p.URL)
	need(t, k, "old")
	p.publish(t, "old", "new")
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for _, id := range []string{"new", "old"} { // every concurrent request must find both keys
				if found, err := k.Keys(t.Context(), id, "ES256"); err != nil || len(found) != 1 {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
	wg.Wait()
	if n := p.fetched(); n != 2 {
		t.Errorf("%d fetches for one rotation", n)
	}
	p.publish(t, "newer")
	need(t, k, "newer")
	if _, err := k.Keys(t.Context(), "old", "ES256"); !errors.Is(err, access.ErrUnknownKey) {
		t.Errorf("the key that is withdrawn: %v", err)
	}
}

func TestUnknownKeysCauseFewFetches(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.publish(t, "known")
	k := run(t, p.URL)
	need(t, k, "known")
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			for j := range 5 {
				_, err := k.Keys(t.Context(), fmt.Sprintf("unknown-%d", (i+j)%100), "ES256")
				if !errors.Is(err, access.ErrUnknownKey) && !fault.Is(err, fault.Unavailable) {
					t.Errorf("%v", err)
				}
			}
		})
	}
	wg.Wait()
	if n, most := p.fetched(), 2+int(time.Since(began)/(2*time.Second)); n > most {
		t.Errorf("%d fetches in %v", n, time.Since(began))
	}
	need(t, k, "known")
}

func TestAKeyIsKnownIfNoRequestWaitsForIt(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.publish(t, "k")
	k := issuer.New(p.URL, zerolog.Nop())
	if k.Knows("k", "ES256") {
		t.Error("a key is known before the first fetch")
	}
	k = run(t, p.URL)
	need(t, k, "k")
	for algorithm, known := range map[string]bool{"ES256": true, "ES384": false} {
		if k.Knows("k", algorithm) != known {
			t.Errorf("%s: %v", algorithm, !known)
		}
	}
	if k.Knows("another", "ES256") {
		t.Error("a key is known that nobody has looked for")
	}
	if _, err := k.Keys(t.Context(), "another", "ES256"); !errors.Is(err, access.ErrUnknownKey) {
		t.Fatal(err)
	}
	if !k.Knows("another", "ES256") {
		t.Error("it is forgotten that the provider has no such key")
	}
}

func TestWithoutAFetchNoTokenCounts(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.change(func() { p.discovery = func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) } })
	k := run(t, p.URL)
	if _, err := k.Keys(t.Context(), "k", "ES256"); !fault.Is(err, fault.Unavailable) || fault.As(err).Code != "identity-provider-unavailable" || fault.As(err).RetryAfter == 0 {
		t.Fatalf("%v", err)
	}
	p.publish(t, "k")
	p.change(func() { p.discovery = nil })
	need(t, k, "k") // Keys waits for the fetch that Run makes when the provider is available again
}

func TestKeysStayInUseWhileTheProviderIsAway(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.publish(t, "k")
	k := run(t, p.URL)
	need(t, k, "k")
	for name, away := range map[string]func(w http.ResponseWriter){
		"an error": func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"no keys":  func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"no JSON":  func(w http.ResponseWriter) { _, _ = w.Write([]byte(`<html>`)) },
		"too large": func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"keys":[],"x":"` + strings.Repeat("x", 2<<20) + `"}`))
		},
	} {
		p.change(func() { p.set = away })
		if _, err := k.Keys(t.Context(), "another for "+name, "ES256"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s, a key that may be new: %v", name, err)
		}
		need(t, k, "k")
	}
}

func TestASlowProviderHoldsNoRequestForLong(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.publish(t, "k")
	k := run(t, p.URL)
	need(t, k, "k")
	release := make(chan struct{})
	defer close(release)
	p.change(func() { p.set = func(http.ResponseWriter) { p.waiting <- struct{}{}; <-release } })
	began := time.Now()
	if _, err := k.Keys(t.Context(), "another", "ES256"); err == nil {
		t.Error("a key is found that nobody has published")
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	need(t, k, "k")
	<-p.waiting
}

func TestAProviderIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, discovery := range map[string]func(p *provider, w http.ResponseWriter){
		"another issuer":   func(p *provider, w http.ResponseWriter) { p.describe(w, "https://evil.example.com", p.URL+"/keys") },
		"keys without TLS": func(p *provider, w http.ResponseWriter) { p.describe(w, p.URL, "http://keys.example.com/") },
		"keys in a file":   func(p *provider, w http.ResponseWriter) { p.describe(w, p.URL, "file:///etc/passwd") },
		"no keys":          func(p *provider, w http.ResponseWriter) { p.describe(w, p.URL, "") },
		"a redirect without TLS": func(_ *provider, w http.ResponseWriter) {
			w.Header().Set("Location", "http://example.com/")
			w.WriteHeader(http.StatusFound)
		},
		"an endless redirect": func(_ *provider, w http.ResponseWriter) {
			w.Header().Set("Location", "/.well-known/openid-configuration")
			w.WriteHeader(http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.publish(t, "k")
			p.change(func() { p.discovery = func(w http.ResponseWriter) { discovery(p, w) } })
			if found, err := run(t, p.URL).Keys(t.Context(), "k", "ES256"); !fault.Is(err, fault.Unavailable) {
				t.Errorf("%d keys, %v", len(found), err)
			}
			if p.fetched() > 0 {
				t.Error("the keys were fetched")
			}
		})
	}
}
