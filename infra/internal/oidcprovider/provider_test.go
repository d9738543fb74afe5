package oidcprovider_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"sori.internal/infra/internal/oidcprovider"
	gateway "sori.internal/services/gateway/app"
	"sori.internal/shared/testkit"
)

const (
	audience = "sori"
	clientID = "console"
	redirect = "http://127.0.0.1:1/signed-in" // no server listens there: the test reads the redirect
)

// provider is a running provider that can be stopped and started again at the same address.
type provider struct {
	*oidcprovider.Provider

	t      *testing.T
	url    string
	server *http.Server
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, url: "http://" + l.Addr().String()}
	p.Provider, err = oidcprovider.New(oidcprovider.Options{
		Issuer: p.url, Audience: audience, ClientID: clientID, RedirectURIs: []string{redirect},
		Users: []oidcprovider.User{
			{Name: "alice", Password: "a-password"}, {Name: "bob", Password: "b-password"},
			{Name: "root", Password: "r-password", Roles: []string{"sori-admin"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.serve(l)
	t.Cleanup(func() { _ = p.server.Close() })
	return p
}

func (p *provider) serve(l net.Listener) {
	p.server = &http.Server{Handler: p.Provider, ReadHeaderTimeout: time.Minute}
	go func() { _ = p.server.Serve(l) }()
}

// stop stops the provider, so that it is unavailable.
func (p *provider) stop() { _ = p.server.Close() }

// restart starts the stopped provider again, at the same address and with the same keys.
func (p *provider) restart() {
	p.t.Helper()
	testkit.Eventually(p.t, func() error {
		l, err := net.Listen("tcp", strings.TrimPrefix(p.url, "http://"))
		if err == nil {
			p.serve(l)
		}
		return err
	})
}

func (p *provider) config() *oauth2.Config {
	return &oauth2.Config{
		ClientID: clientID, RedirectURL: redirect, Scopes: []string{"openid", "offline_access"},
		Endpoint: oauth2.Endpoint{AuthURL: p.url + "/authorize", TokenURL: p.url + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
	}
}

// signIn signs a user in as a browser does, and returns the tokens.
func (p *provider) signIn(ctx context.Context, name, password string) (*oauth2.Token, error) {
	verifier := oauth2.GenerateVerifier()
	code, err := p.code(ctx, p.config().AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), name, password)
	if err != nil {
		return nil, err
	}
	return p.config().Exchange(ctx, code, oauth2.VerifierOption(verifier))
}

var errNotSignedIn = errors.New("not signed in")

// code signs a user in: it follows the redirects from the URL of an authorization to the page of
// the client, and returns the authorization code.
func (p *provider) code(ctx context.Context, authorize, name, password string) (string, error) {
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirect) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	get := func(method, to string, form url.Values) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := browser.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return resp, err
	}
	page, err := get(http.MethodGet, authorize, nil)
	if err != nil {
		return "", err
	}
	if page.Request.URL.Path != "/login" {
		return "", fmt.Errorf("%w: %s at %s", errNotSignedIn, page.Status, page.Request.URL.Path)
	}
	resp, err := get(http.MethodPost, p.url+"/login", url.Values{"id": {page.Request.URL.Query().Get("id")}, "name": {name}, "password": {password}})
	if err != nil {
		return "", err
	}
	to, err := resp.Location()
	if err != nil || to.Query().Get("code") == "" || to.Query().Get("state") != "state" {
		return "", fmt.Errorf("%w: %s, %v", errNotSignedIn, resp.Status, to)
	}
	return to.Query().Get("code"), nil
}

// startGateway starts a gateway that accepts the tokens of a provider.
func startGateway(t *testing.T, p *provider) *testkit.Instance {
	t.Helper()
	kit := testkit.New(t)
	kit.Database()
	g := kit.Run(gateway.Run, map[string]string{
		"TRACKER_URL": "http://127.0.0.1:1", "DISPATCHER_URL": "http://127.0.0.1:1", "OIDC_ISSUER": p.url, "OIDC_AUDIENCE": audience,
	})
	testkit.Eventually(t, func() error {
		if status := request(kit.Context(), g, http.MethodGet, "/readyz", "", nil); status != http.StatusOK {
			return fmt.Errorf("readyz: %d", status)
		}
		return nil
	})
	return g
}

// request sends a request and returns the status of the answer, or 0 if there is no answer.
func request(ctx context.Context, g *testkit.Instance, method, path, body string, token *oauth2.Token) int {
	req, err := http.NewRequestWithContext(ctx, method, g.URL+path, strings.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	if token != nil {
		token.SetAuthHeader(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestUsersWhoSignInReachTheGatewayWithTheirRole(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := startGateway(t, p)
	for name, c := range map[string]struct {
		password     string
		read, change int
	}{
		"alice": {"a-password", http.StatusOK, http.StatusForbidden}, "bob": {"b-password", http.StatusOK, http.StatusForbidden},
		"root": {"r-password", http.StatusOK, http.StatusCreated},
	} {
		token, err := p.signIn(t.Context(), name, c.password)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		renewed, err := p.config().TokenSource(t.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
		if err != nil || renewed.AccessToken == token.AccessToken {
			t.Fatalf("renew %s: %v", name, err)
		}
		for _, token := range []*oauth2.Token{token, renewed} {
			if got := request(t.Context(), g, http.MethodGet, "/tokens", "", token); got != c.read {
				t.Errorf("%s reads the catalogue: %d", name, got)
			}
		}
		if got := request(t.Context(), g, http.MethodPost, "/actors", `{"name":"by `+name+`"}`, token); got != c.change {
			t.Errorf("%s changes the catalogue: %d", name, got)
		}
	}
}

func TestNobodySignsInWithoutAPasswordOrProof(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	for _, c := range [][2]string{{"alice", "b-password"}, {"alice", ""}, {"mallory", "a-password"}, {"", ""}} {
		if token, err := p.signIn(t.Context(), c[0], c[1]); !errors.Is(err, errNotSignedIn) {
			t.Errorf("%v: %v, %v", c, token, err)
		}
	}
	if code, err := p.code(t.Context(), p.config().AuthCodeURL("state"), "alice", "a-password"); !errors.Is(err, errNotSignedIn) {
		t.Errorf("without PKCE: %q, %v", code, err)
	}
	code, err := p.code(t.Context(), p.config().AuthCodeURL("state", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())), "alice", "a-password")
	if err != nil {
		t.Fatal(err)
	}
	if token, err := p.config().Exchange(t.Context(), code, oauth2.VerifierOption(oauth2.GenerateVerifier())); err == nil {
		t.Errorf("another verifier: %v", token)
	}
	token, err := p.signIn(t.Context(), "alice", "a-password")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // the second attempt must fail, because a refresh token can be used only once
		_, err := p.config().TokenSource(t.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
		if (err == nil) != (i == 0) {
			t.Errorf("use %d of a refresh token: %v", i+1, err)
		}
	}
}

func TestKeysRotateUnderLoadWithoutAFailedRequest(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := startGateway(t, p)
	const clients, rotations = 4, 3
	var wg sync.WaitGroup
	var renewals [clients]atomic.Int64
	stop := make(chan struct{})
	for i := range clients {
		token, err := p.signIn(t.Context(), "alice", "a-password")
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := request(t.Context(), g, http.MethodGet, "/tokens", "", token); got != http.StatusOK {
					t.Errorf("status %d", got)
					return
				}
				renewed, err := p.config().TokenSource(t.Context(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
				if err != nil {
					t.Error(err)
					return
				}
				token = renewed
				renewals[i].Add(1)
			}
		})
	}
	for range rotations {
		var before [clients]int64
		for i := range clients {
			before[i] = renewals[i].Load()
		}
		if err := p.Rotate(); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, func() error { // wait until each client has used a token of the new key
			for i := range clients {
				if renewals[i].Load() < before[i]+3 && !t.Failed() {
					return fmt.Errorf("client %d has renewed %d times", i, renewals[i].Load()-before[i])
				}
			}
			return nil
		})
	}
	close(stop)
	wg.Wait()
}

func TestTheGatewayGoesOnWhileTheProviderIsAway(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := startGateway(t, p)
	token, err := p.signIn(t.Context(), "alice", "a-password")
	if err != nil {
		t.Fatal(err)
	}
	if got := request(t.Context(), g, http.MethodGet, "/tokens", "", token); got != http.StatusOK {
		t.Fatalf("status %d", got)
	}
	p.stop()
	for range 20 {
		if got := request(t.Context(), g, http.MethodGet, "/tokens", "", token); got != http.StatusOK {
			t.Errorf("while the provider is away: %d", got)
		}
	}
	fresh := startGateway(t, p) // a gateway that starts without keys denies all requests
	if got := request(t.Context(), fresh, http.MethodGet, "/tokens", "", token); got != http.StatusServiceUnavailable {
		t.Errorf("a gateway without keys: %d", got)
	}
	if got := request(t.Context(), fresh, http.MethodGet, "/livez", "", nil); got != http.StatusOK {
		t.Errorf("its public routes: %d", got)
	}
	p.restart()
	testkit.Eventually(t, func() error {
		if got := request(t.Context(), fresh, http.MethodGet, "/tokens", "", token); got != http.StatusOK {
			return fmt.Errorf("after the provider is back: %d", got)
		}
		return nil
	})
}
