// Package oidcprovider is an OpenID provider for development and tests. It supports discovery, the rotation
// of keys, a page to sign in, the authorization code flow with PKCE, and refresh tokens.
//
// It is not for production: users and their passwords are options, and all data is in memory. Access
// tokens are JSON Web Tokens whose subject is the user's name, with the user's roles.
package oidcprovider

import (
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// User is a user who can sign in.
type User struct {
	Name     string
	Password string
	Roles    []string // value of the claim "roles" in the user's tokens
}

// Options are the settings of a provider.
type Options struct {
	Issuer       string // the URL of the provider; http is allowed on loopback
	Audience     string // the audience of access tokens
	ClientID     string // the id of the only client, which is public: it uses PKCE and has no secret
	RedirectURIs []string
	Users        []User
	Validity     time.Duration // the validity of access tokens; 0 is five minutes
}

// Provider is an OpenID provider. It is an http.Handler, which must be served at the URL of the issuer.
type Provider struct {
	*http.ServeMux

	storage  *storage
	page     *template.Template // the page to sign in
	callback func(r *http.Request, id string) string
}

// New returns a provider with one signing key.
func New(o Options) (*Provider, error) {
	if o.Issuer == "" || o.ClientID == "" {
		return nil, errors.New("make an OpenID provider: an issuer and a client are needed")
	}
	if o.Validity == 0 {
		o.Validity = 5 * time.Minute
	}
	storage, err := newStorage(o)
	if err != nil {
		return nil, err
	}
	cfg := &op.Config{CodeMethodS256: true, GrantTypeRefreshToken: true, SupportedClaims: []string{"sub", "roles"}}
	_, _ = rand.Read(cfg.CryptoKey[:])
	inner, err := op.NewProvider(cfg, storage, op.StaticIssuer(o.Issuer), op.WithAllowInsecure())
	if err != nil {
		return nil, fmt.Errorf("make an OpenID provider: %w", err)
	}
	callback := op.AuthCallbackURL(inner)
	page, err := template.New("login").Parse(loginPage)
	if err != nil {
		return nil, fmt.Errorf("make an OpenID provider: %w", err)
	}
	p := &Provider{ServeMux: http.NewServeMux(), storage: storage, page: page, callback: func(r *http.Request, id string) string {
		return callback(op.ContextWithIssuer(r.Context(), o.Issuer), id)
	}}
	p.HandleFunc("GET "+loginPath, p.showLogin)
	p.HandleFunc("POST "+loginPath, p.login)
	p.Handle("/", inner)
	return p, nil
}

// Rotate generates a new key, with which tokens are signed from now on. The previous key is still
// published, so that its tokens stay valid; older keys are removed.
func (p *Provider) Rotate() error { return p.storage.rotate() }

const loginPath = "/login"

const loginPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Sign in</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 20rem; margin: 15vh auto 0; padding: 0 1rem }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit }
input, button { min-height: 44px; margin-top: .25rem; padding: 0 .75rem }
</style>
<h1>Sign in</h1>
<form method="post" action="` + loginPath + `">
<input type="hidden" name="id" value="{{.ID}}">
<p><label>Name <input name="name" autocomplete="username" autocapitalize="none" autofocus></label>
<p><label>Password <input name="password" type="password" autocomplete="current-password"></label>
<p role="alert">{{.Failure}}
<p><button>Sign in</button>
</form>
`

// showLogin serves the page to sign in, to which the provider redirects browsers.
func (p *Provider) showLogin(w http.ResponseWriter, r *http.Request) {
	p.showPage(w, http.StatusOK, r.FormValue("id"), "")
}

// login checks a password, and sends the browser back to its client.
func (p *Provider) login(w http.ResponseWriter, r *http.Request) {
	id := r.FormValue("id")
	if !p.storage.signIn(id, r.FormValue("name"), r.FormValue("password")) {
		p.showPage(w, http.StatusUnauthorized, id, "Name or password is wrong, or the sign-in took too long.")
		return
	}
	http.Redirect(w, r, p.callback(r, id), http.StatusFound)
}

func (p *Provider) showPage(w http.ResponseWriter, status int, id, failure string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = p.page.Execute(w, struct{ ID, Failure string }{id, failure}) // an error means that the client has left
}
