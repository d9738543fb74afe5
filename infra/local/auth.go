package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/oidcprovider"
	gatewayapp "sori.internal/services/gateway/app"
	"sori.internal/shared/config"
	"sori.internal/shared/principal"
)

const (
	authAudience = "sori"
	authClient   = "sori-console"
	adminRole    = "sori-admin" // the default of AUTH_ADMIN_ROLE

	keyUser  = "mina" // the user whose API key the screen shows
	keyAdmin = "admin"
)

// auth is the part of the runner that -auth adds: an OpenID provider with users, and API keys of two
// of them. A nil *auth does nothing: requests are then not authenticated.
type auth struct {
	dir      string
	gateway  string // the URL of the gateway
	issuer   string // the URL of the provider
	users    []oidcprovider.User
	listener net.Listener
	provider *oidcprovider.Provider
}

// newAuth prepares the provider, which has another port in each run. The passwords are stored in the
// state folder, so that they are the same in each run.
func newAuth(ctx context.Context, wanted bool, dir, gatewayURL string) (a *auth, err error) {
	if !wanted {
		return nil, nil
	}
	a = &auth{dir: dir, gateway: gatewayURL}
	for _, u := range []oidcprovider.User{{Name: keyUser}, {Name: "jun"}, {Name: keyAdmin, Roles: []string{adminRole}}} {
		u.Password, err = keptText(filepath.Join(dir, u.Name+".password"), func() string { return strings.ToLower(rand.Text()[:12]) })
		if err != nil {
			return nil, err
		}
		a.users = append(a.users, u)
	}
	var listen net.ListenConfig
	if a.listener, err = listen.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listen for the OpenID provider: %w", err)
	}
	a.issuer = "http://" + a.listener.Addr().String()
	page := gatewayURL + "/console"
	a.provider, err = oidcprovider.New(oidcprovider.Options{
		Issuer: a.issuer, Audience: authAudience, ClientID: authClient, Users: a.users,
		RedirectURIs: []string{page, strings.Replace(page, "127.0.0.1", "localhost", 1)},
	})
	if err != nil {
		return nil, errors.Join(err, a.listener.Close())
	}
	return a, nil
}

// settings returns the settings of the gateway.
func (a *auth) settings() map[string]string {
	if a == nil {
		return nil
	}
	return map[string]string{"OIDC_ISSUER": a.issuer, "OIDC_AUDIENCE": authAudience, "OIDC_CLIENT_ID": authClient, "AUTH_API_KEYS": "true"}
}

// serve runs the provider until ctx ends.
func (a *auth) serve(ctx context.Context) error {
	if a == nil {
		return nil
	}
	server := &http.Server{Handler: a.provider, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("the OpenID provider: %w", err)
	}
	return nil
}

// keys makes the API keys that the state folder lacks, and returns that of the admin. A key that the
// gateway does not accept any more is replaced.
func (a *auth) keys(ctx context.Context, vars map[string]string) (admin string, err error) {
	if a == nil {
		return "", nil
	}
	if _, err := a.key(ctx, vars, keyUser, principal.UserScopes()...); err != nil {
		return "", err
	}
	return a.key(ctx, vars, keyAdmin, principal.Admin)
}

// key returns the API key of a user in the state folder. If there is none that the gateway accepts,
// it makes one.
func (a *auth) key(ctx context.Context, vars map[string]string, user string, scopes ...principal.Scope) (string, error) {
	kept, err := os.ReadFile(a.keyFile(user))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read an API key: %w", err)
	}
	text := strings.TrimSpace(string(kept))
	if accepted, err := a.accepts(ctx, text); err != nil || accepted {
		return text, err
	}
	if text, err = gatewayapp.CreateAPIKey(ctx, config.Map(vars), "local runner", user, scopes...); err != nil {
		return "", err
	}
	return text, keepText(a.keyFile(user), text)
}

// accepts reports whether the gateway accepts an API key.
func (a *auth) accepts(ctx context.Context, key string) (bool, error) {
	if key == "" {
		return false, nil
	}
	_, err := (&client.Client{Base: a.gateway, Credential: key}).Do(ctx, client.Request{Path: "/jobs/?limit=1"})
	if problem, ok := errors.AsType[*client.Problem](err); ok && problem.Status == http.StatusUnauthorized {
		return false, nil
	}
	return err == nil, err
}

func (a *auth) keyFile(user string) string { return filepath.Join(a.dir, user+".key") }

// curlFlag returns the flag with which curl sends the API key of the user, or "".
func (a *auth) curlFlag() string {
	if a == nil {
		return ""
	}
	return fmt.Sprintf(` -H "Authorization: Bearer $(cat %s)"`, a.keyFile(keyUser))
}

// screen returns the lines about access for the screen.
func (a *auth) screen() string {
	if a == nil {
		return "Requests are not authenticated: anyone who reaches these addresses may do everything. With -auth, users sign in.\n"
	}
	var lines strings.Builder
	fmt.Fprintf(&lines, "Users sign in to the console, at the OpenID provider %s:\n\n", a.issuer)
	for _, u := range a.users {
		fmt.Fprintf(&lines, "  %-9s password %s%s\n", u.Name, u.Password, map[bool]string{true: "        an admin: sees all jobs, and changes tokens"}[len(u.Roles) > 0])
	}
	fmt.Fprintf(&lines, "\nPrograms send an API key: the key of %s is in %s, the key of %s in %s.\n", keyUser, a.keyFile(keyUser), keyAdmin, a.keyFile(keyAdmin))
	return lines.String()
}
