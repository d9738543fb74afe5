package httpserver_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/audit"
	"sori.internal/services/gateway/internal/forwarded"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/services/gateway/internal/ratelimit"
	"sori.internal/shared/metrics"
	"sori.internal/shared/origin"
	"sori.internal/shared/principal"
)

const (
	issuer  = "https://id.example.com"
	page    = "https://app.example.com" // an origin that may use the API
	allowed = 10                        // requests of one address
	early   = 20                        // lookups in a second before the limit of the address is checked
)

// lookups is a store of API keys and an OpenID provider that counts how often it is asked.
type lookups struct {
	public crypto.PublicKey // the provider's key "known"

	mu   sync.Mutex
	keys map[string]access.StoredKey
	n    int
}

func (l *lookups) APIKey(_ context.Context, id string) (access.StoredKey, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	if k, ok := l.keys[id]; ok {
		return k, nil
	}
	return access.StoredKey{}, access.KeyNotFound()
}

func (*lookups) MarkAPIKeyUsed(context.Context, string) error { return nil }

func (l *lookups) Keys(_ context.Context, id, _ string) ([]crypto.PublicKey, error) {
	if id == "known" {
		return []crypto.PublicKey{l.public}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return nil, access.ErrUnknownKey
}

func (*lookups) Knows(id, _ string) bool { return id == "known" }

func (l *lookups) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// env is a running server with one route, POST /items, that echoes the body.
type env struct {
	t       *testing.T
	addr    string
	lookups *lookups
	private *ecdsa.PrivateKey // the provider's key "known"
	key     string            // an API key of alice
	client  *http.Client
}

func start(t *testing.T, changes ...func(*httpserver.Server)) *env {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stored, text := access.NewKey(access.Key{Owner: "alice", Scopes: principal.UserScopes()})
	l := &lookups{public: private.Public(), keys: map[string]access.StoredKey{stored.ID: stored}}
	var proxies forwarded.Proxies
	var origins origin.List
	for text, to := range map[string]interface{ UnmarshalText([]byte) error }{"loopback": &proxies, page: &origins} {
		if err := to.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	listening := make(chan net.Addr, 1)
	s := &httpserver.Server{
		Name: "test", Addr: "127.0.0.1:0", Grace: time.Second, Listening: func(a net.Addr) { listening <- a }, Log: zerolog.Nop(),
		Requests: metrics.New().Requests, Proxies: proxies, Origins: origins, MaxBody: 1 << 20, MinRate: 1, Audit: func(audit.Entry) {},
		Access: access.New(access.Config{Issuer: issuer, Audience: "sori", APIKeys: true}, access.Dependencies{Keys: l, Issuer: l, Now: time.Now}),
		// In the time of a test, no request beyond the burst becomes available.
		Limits: httpserver.Limits{Address: ratelimit.NewSet("").NewRate("address", "requests", allowed, time.Hour)},
		Register: func(r *httpserver.Router, _ *httpserver.Shutdown) {
			r.Post("/items", principal.JobsWrite, func(c *fiber.Ctx) error {
				body, err := httpserver.ReadBody(c, 1<<20, httpserver.BodyLimits{Idle: time.Minute, Total: time.Minute, MinRate: 1, Memory: &httpserver.BodyMemory{}})
				if err != nil {
					return err
				}
				return c.Send(body)
			})
		},
	}
	for _, change := range changes {
		change(s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return &env{t: t, addr: (<-listening).String(), lookups: l, private: private, key: text, client: &http.Client{Transport: transport}}
}

// token returns a token that is signed with a key of the provider, or pretends to be.
func (e *env) token(kid string, expires time.Time) string {
	e.t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": issuer, "aud": "sori", "sub": "alice", "exp": expires.Unix()})
	token.Header["kid"] = kid
	text, err := token.SignedString(e.private)
	if err != nil {
		e.t.Fatal(err)
	}
	return text
}

// post sends a body, or none, with an Authorization header from an address.
func (e *env) post(address, authorization string, body io.Reader, header http.Header) (r *http.Response, text string) {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodPost, "http://"+e.addr+"/items", body)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header = header.Clone()
	req.Header.Set("X-Forwarded-For", address)
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Origin", page)
	r, err = e.client.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return r, string(answer)
}

// refused checks that a page can read that and why its request exceeds the limit of its address.
func (e *env) refused(r *http.Response, text string) {
	e.t.Helper()
	var problem struct{ Code, Limit string }
	if err := json.Unmarshal([]byte(text), &problem); err != nil || r.StatusCode != http.StatusTooManyRequests || problem.Code != "rate-limited" || problem.Limit != "requests" {
		e.t.Fatalf("%s %s, %v", r.Status, text, err)
	}
	if policy, limit := r.Header.Get("RateLimit-Policy"), r.Header.Get("RateLimit"); policy != `"address";q=10;w=3600` || !strings.HasPrefix(limit, `"address";r=0;t=`) {
		e.t.Errorf("%s, %s", policy, limit)
	}
	if seconds, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || seconds < 1 {
		e.t.Errorf("Retry-After is %q", r.Header.Get("Retry-After"))
	}
	exposed := strings.Split(r.Header.Get("Access-Control-Expose-Headers"), ", ")
	for _, name := range []string{"RateLimit", "RateLimit-Policy", "Retry-After"} {
		if !slices.Contains(exposed, name) {
			e.t.Errorf("%s is not exposed", name)
		}
	}
	if r.Header.Get("Access-Control-Allow-Origin") != page || r.Header.Get("Access-Control-Allow-Credentials") != "true" || r.Header.Get("Vary") != "Origin" {
		e.t.Errorf("the page cannot read the answer: %v", r.Header)
	}
}

func TestInvalidCredentialsAreLookedUpOnlyWithinTheLimitOfTheAddress(t *testing.T) {
	t.Parallel()
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for name, kind := range map[string]struct {
		authorization func(e *env, i int) string
		most          int // lookups, besides the early ones
	}{
		"unknown key":  {func(_ *env, i int) string { return fmt.Sprintf("Bearer sori_%016x_%064x", i, i) }, allowed},
		"wrong secret": {func(e *env, i int) string { return fmt.Sprintf("Bearer %s_%064x", e.key[:len("sori_")+16], i) }, 1},
		"malformed":    {func(_ *env, i int) string { return fmt.Sprintf("Bearer sori_%d", i) }, 0},
		"unknown kid":  {func(e *env, i int) string { return "Bearer " + e.token(strconv.Itoa(i), later) }, allowed},
		"expired":      {func(e *env, _ int) string { return "Bearer " + e.token("known", before) }, 0},
	} {
		for what, body := range map[string]struct {
			content func() io.Reader
			header  http.Header
		}{
			"no body":          {func() io.Reader { return nil }, http.Header{}},
			"a body":           {func() io.Reader { return strings.NewReader("body") }, http.Header{}},
			"chunks":           {func() io.Reader { return io.MultiReader(strings.NewReader("body")) }, http.Header{}},
			"a body announced": {func() io.Reader { return strings.NewReader("body") }, http.Header{"Expect": {"100-continue"}}},
		} {
			for where, address := range map[string]func(i int) string{
				"an address":            func(int) string { return "203.0.113.9" },
				"the addresses of a 64": func(i int) string { return fmt.Sprintf("2001:db8:0:1::%x", i+1) },
			} {
				t.Run(name+", "+what+", "+where, func(t *testing.T) {
					t.Parallel()
					e := start(t)
					began := time.Now()
					for i := range 8 * allowed {
						r, text := e.post(address(i), kind.authorization(e, i), body.content(), body.header)
						if i >= allowed {
							e.refused(r, text)
						} else if r.StatusCode != http.StatusUnauthorized {
							t.Fatalf("request %d: %s %s", i, r.Status, text)
						}
					}
					most := kind.most
					if most == allowed { // each request has other credentials
						most += early + int(early*time.Since(began).Seconds()) + 1
					}
					if n := e.lookups.count(); n > most {
						t.Errorf("%d lookups, want at most %d", n, most)
					}
					if r, text := e.post("198.51.100.1", "Bearer "+e.key, body.content(), body.header); r.StatusCode != http.StatusOK {
						t.Errorf("a valid key from another address: %s %s", r.Status, text)
					}
				})
			}
		}
	}
}

// The bodies of these requests never arrive, and the server sends no 100 Continue.
func TestABodyIsNotRequestedIfItsKeyIsInvalid(t *testing.T) {
	t.Parallel()
	e := start(t)
	reader, writer := io.Pipe()
	defer writer.Close()
	for range 2 { // the key is looked up, and then known to be invalid
		const authorization = "Bearer sori_0123456789abcdef_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		if r, text := e.post("203.0.113.9", authorization, reader, http.Header{"Expect": {"100-continue"}}); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s", r.Status, text)
		}
	}
}

func TestTheBodyOfARequestWhoseKeyIsLookedUpIsNeverParsedAsTheNext(t *testing.T) {
	t.Parallel()
	e := start(t)
	smuggled := fmt.Sprintf("POST /items HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 4\r\n\r\nbody", e.key)
	for i, framing := range []string{
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(smuggled), smuggled),
		fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(smuggled), smuggled),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled),
	} {
		c, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(c, "POST /items HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sori_%016x_%064x\r\n%s", i, i, framing)
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answers, err := io.ReadAll(c)
		if err != nil || strings.Count(string(answers), "HTTP/1.1 401") != 1 || strings.Contains(string(answers), "HTTP/1.1 200") {
			t.Errorf("request %d: %s, %v", i, answers, err)
		}
	}
}
