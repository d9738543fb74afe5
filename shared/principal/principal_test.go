package principal_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sori.internal/shared/config"
	"sori.internal/shared/principal"
)

const secret = "a-secret-of-thirty-two-bytes-0123"

func signed(t *testing.T, p principal.Principal, at time.Time) string {
	t.Helper()
	header, err := principal.NewSigner(principal.Config{Secret: secret}).Sign(p, at)
	if err != nil {
		t.Fatal(err)
	}
	return header
}

func verify(header string, at time.Time) (principal.Principal, error) {
	return principal.NewVerifier(principal.Config{Secret: secret}, func() time.Time { return at }).Verify(header)
}

func Example() {
	cfg := principal.Config{Secret: "a-secret-of-thirty-two-bytes-0123"}
	alice := principal.Principal{Owner: "alice", Scopes: principal.UserScopes()}
	header, err := principal.NewSigner(cfg).Sign(alice, time.Now())
	if err != nil {
		fmt.Println(err)
	}
	p, err := principal.NewVerifier(cfg, time.Now).Verify(header)
	fmt.Println(p.Owner, p.May(principal.JobsWrite), p.May(principal.CatalogueWrite), p.Sees("bob"), err)
	// Output: alice true false false <nil>
}

func TestASignedPrincipalIsVerifiedAsItWas(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, p := range map[string]principal.Principal{
		"a user":      {Owner: "alice", Scopes: principal.UserScopes()},
		"an API key":  {Owner: "alice", Scopes: []principal.Scope{principal.JobsRead}, KeyID: "k1"},
		"an admin":    {Owner: "root", Scopes: []principal.Scope{principal.Admin}},
		"nobody":      principal.Open(),
		"odd letters": {Owner: "옥토끼 \"|" + strings.Repeat("x", 200), Scopes: principal.Scopes()},
		"a token":     {Owner: "alice", Scopes: principal.UserScopes(), Expires: time.Unix(now.Unix()+60, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := verify(signed(t, p, now), now); err != nil || !reflect.DeepEqual(got, p) {
				t.Errorf("%+v, %v; it was %+v", got, err, p)
			}
		})
	}
}

func TestOnlyAFreshPrincipalOfTheGatewayIsVerified(t *testing.T) {
	t.Parallel()
	now := time.Now()
	root := principal.Principal{Owner: "root", Scopes: []principal.Scope{principal.Admin}}
	good := signed(t, root, now)
	forged := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	later := now.Add(time.Minute).Unix()
	for name, header := range map[string]string{
		"none":                             "",
		"no token":                         "root",
		"cut":                              good[:len(good)-1],
		"another secret":                   forged(jwt.SigningMethodHS256, []byte("another-secret-of-32-bytes-012345"), jwt.MapClaims{"iss": "sori-gateway", "sub": "root", "exp": later}),
		"unsigned":                         forged(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"iss": "sori-gateway", "sub": "root", "exp": later}),
		"another method":                   forged(jwt.SigningMethodHS512, []byte(secret), jwt.MapClaims{"iss": "sori-gateway", "sub": "root", "exp": later}),
		"another issuer":                   forged(jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"iss": "elsewhere", "sub": "root", "exp": later}),
		"without an end":                   forged(jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"iss": "sori-gateway", "sub": "root"}),
		"of two hours ago":                 signed(t, root, now.Add(-2*time.Hour)),
		"a ticket":                         ticket(t, root, now),
		"expired itself":                   signed(t, principal.Principal{Owner: "root", Expires: now.Add(-time.Minute)}, now),
		"a control character in the owner": signed(t, principal.Principal{Owner: "a\x00b"}, now),
		"a long owner":                     signed(t, principal.Principal{Owner: strings.Repeat("x", principal.MaxOwner+1)}, now),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if p, err := verify(header, now); err == nil {
				t.Errorf("it is taken for %+v", p)
			} else if strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func TestAdminsSeeEverythingAndOthersTheirOwn(t *testing.T) {
	t.Parallel()
	alice := principal.Principal{Owner: "alice", Scopes: principal.UserScopes()}
	admin := principal.Principal{Owner: "root", Scopes: []principal.Scope{principal.Admin}}
	for _, c := range []struct {
		p     principal.Principal
		owner string
		sees  bool
	}{
		{alice, "alice", true}, {alice, "bob", false}, {alice, "", false}, {alice, "Alice", false},
		{admin, "alice", true}, {admin, "", true}, {principal.Open(), "", true}, {principal.Open(), "alice", true},
		{principal.Principal{Scopes: principal.UserScopes()}, "", false}, {principal.Principal{}, "", false},
	} {
		if c.p.Sees(c.owner) != c.sees {
			t.Errorf("%+v sees a job of %q: %v", c.p, c.owner, !c.sees)
		}
	}
	for _, s := range principal.Scopes() {
		if !admin.May(s) || (principal.Principal{}).May(s) {
			t.Errorf("scope %s", s)
		}
	}
	if alice.May(principal.CatalogueWrite) || alice.May(principal.Admin) {
		t.Error("a user may change the catalogue")
	}
}

func TestAContextWithoutAPrincipalMayDoNothing(t *testing.T) {
	t.Parallel()
	if p := principal.From(t.Context()); p.May(principal.JobsRead) || p.Sees("") {
		t.Errorf("%+v", p)
	}
	alice := principal.Principal{Owner: "alice"}
	if p := principal.From(principal.With(t.Context(), alice)); p.Owner != "alice" {
		t.Errorf("%+v", p)
	}
}

func TestAnEventNamesAnAPIKeyBeforeItsOwner(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]principal.Principal{"k1": {Owner: "alice", KeyID: "k1"}, "alice": {Owner: "alice"}, "": principal.Open()} {
		if got := p.By(); got != want {
			t.Errorf("%+v is named %q", p, got)
		}
	}
}

func TestAnOwnerIsAShortTextWithoutControlCharacters(t *testing.T) {
	t.Parallel()
	for owner, valid := range map[string]bool{
		"alice": true, "옥토끼": true, "auth0|a@example.org": true, strings.Repeat("x", principal.MaxOwner): true,
		"": false, strings.Repeat("x", principal.MaxOwner+1): false, "a\x00": false, "a\nb": false, "a\x7f": false, "\xff": false, "\ufffd": false,
	} {
		if principal.ValidOwner(owner) != valid {
			t.Errorf("%q is valid: %v", owner, !valid)
		}
	}
}

func TestAShortSecretIsRefused(t *testing.T) {
	t.Parallel()
	for value, ok := range map[string]bool{strings.Repeat("x", 31): false, strings.Repeat("x", 32): true, "": false} {
		err := config.Load(config.Map(map[string]string{"PRINCIPAL_SECRET": value}), &principal.Config{})
		if (err == nil) != ok {
			t.Errorf("%d bytes: %v", len(value), err)
		}
	}
}
