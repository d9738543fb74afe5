package access_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

func TestAKeyIsUndecidedUntilItIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyStore()
		text := s.add(access.Key{Owner: "alice", Scopes: principal.UserScopes()})
		a := withKeys(s)
		guess := fmt.Sprintf("sori_%016x_%064x", 1, 1)
		for _, text := range []string{text, guess} {
			if _, err := a.Decide(t.Context(), bearer(text)); !errors.Is(err, access.ErrUndecided) {
				t.Errorf("%v", err)
			}
		}
		if queries, _ := s.counts(); queries != 0 {
			t.Errorf("%d queries", queries)
		}
		_, _ = a.Authenticate(t.Context(), bearer(text))
		_, _ = a.Authenticate(t.Context(), bearer(guess))
		if p, err := a.Decide(t.Context(), bearer(text)); err != nil || p.Owner != "alice" {
			t.Errorf("the key, found: %+v, %v", p, err)
		}
		if _, err := a.Decide(t.Context(), bearer(guess)); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("the guess, not found: %v", err)
		}
		now := time.Now()
		s.change(func(k *access.StoredKey) { k.Revoked = &now })
		time.Sleep(5 * time.Second) //nolint:forbidigo // synthetic time
		for range 3 {
			if _, err := a.Decide(t.Context(), bearer(text)); !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("the key, revoked: %v", err)
			}
		}
		if _, err := a.Decide(t.Context(), bearer(guess)); !errors.Is(err, access.ErrUndecided) {
			t.Errorf("the guess, after a while: %v", err)
		}
		if queries, _ := s.counts(); queries != 3 {
			t.Errorf("%d queries", queries)
		}
	})
}

func TestOnlyATokenWhoseKeyIsUnknownIsUndecided(t *testing.T) {
	t.Parallel()
	s := pairs()
	kid := func(id string) map[string]any { return map[string]any{"kid": id} }
	for name, c := range map[string]struct {
		credentials access.Credentials
		undecided   bool
		valid       bool
	}{
		"known key":     {bearer(sign(t, jwt.SigningMethodES256, s.p256, kid("e"), claims(nil))), false, true},
		"shared secret": {bearer(sign(t, jwt.SigningMethodHS256, []byte(secret), nil, claims(nil))), false, true},
		"unknown key":   {bearer(sign(t, jwt.SigningMethodES256, s.p256, kid("g"), claims(nil))), true, false},
		"another suits": {bearer(sign(t, jwt.SigningMethodES384, s.p384, kid("e"), claims(nil))), true, false},
		"expired":       {bearer(sign(t, jwt.SigningMethodES256, s.p256, kid("e"), claims(jwt.MapClaims{"exp": 1}))), false, false},
		"no token":      {bearer("x.y.z"), false, false},
		"another word":  {access.Credentials{Authorization: []string{"Basic eDp5"}}, false, false},
		"nothing":       {access.Credentials{}, false, false},
	} {
		_, err := authenticator(nil).Decide(t.Context(), c.credentials)
		if errors.Is(err, access.ErrUndecided) != c.undecided || (err == nil) != c.valid {
			t.Errorf("%s: %v", name, err)
		}
	}
	open := access.New(access.Config{}, access.Dependencies{Keys: newKeyStore(), Now: time.Now})
	if p, err := open.Decide(t.Context(), access.Credentials{}); err != nil || !reflect.DeepEqual(p, principal.Open()) {
		t.Errorf("without authentication: %+v, %v", p, err)
	}
}
