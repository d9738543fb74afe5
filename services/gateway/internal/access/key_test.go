package access_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// keyStore is a store of keys that counts its queries.
type keyStore struct {
	mu      sync.Mutex
	keys    map[string]access.StoredKey
	away    bool
	queries int
	marks   int
	held    chan struct{} // if set, every query waits until this channel is closed
	active  int
	most    int // the largest number of concurrent queries
}

func newKeyStore() *keyStore { return &keyStore{keys: map[string]access.StoredKey{}} }

func (s *keyStore) APIKey(_ context.Context, id string) (access.StoredKey, error) {
	s.mu.Lock()
	s.queries++
	s.active++
	s.most = max(s.most, s.active)
	held := s.held
	s.mu.Unlock()
	if held != nil {
		<-held
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.away {
		return access.StoredKey{}, fault.Unreachable("database", errors.New("away"))
	}
	if k, ok := s.keys[id]; ok {
		return k, nil
	}
	return access.StoredKey{}, access.KeyNotFound()
}

func (s *keyStore) MarkAPIKeyUsed(context.Context, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks++
	return nil
}

// add makes a key and returns its text.
func (s *keyStore) add(k access.Key) string {
	stored, text := access.NewKey(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[stored.ID] = stored
	return text
}

// change changes all keys.
func (s *keyStore) change(f func(*access.StoredKey)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, k := range s.keys {
		f(&k)
		s.keys[id] = k
	}
}

func (s *keyStore) counts() (queries, marks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queries, s.marks
}

func withKeys(s *keyStore) *access.Authenticator {
	return access.New(access.Config{APIKeys: true}, access.Dependencies{Keys: s, Now: time.Now})
}

func TestAKeyProvesItsOwnerInEitherHeader(t *testing.T) {
	t.Parallel()
	s := newKeyStore()
	text := s.add(access.Key{Owner: "alice", Scopes: []principal.Scope{principal.JobsWrite}})
	if !strings.HasPrefix(text, "sori_") || len(text) != 5+16+1+64 {
		t.Errorf("the key is %q", text)
	}
	want := principal.Principal{Owner: "alice", Scopes: []principal.Scope{principal.JobsWrite}, KeyID: strings.Split(text, "_")[1]}
	for _, c := range []access.Credentials{bearer(text), {APIKey: []string{text}}} {
		if p, err := withKeys(s).Authenticate(t.Context(), c); err != nil || !reflect.DeepEqual(p, want) {
			t.Errorf("%+v, %v", p, err)
		}
	}
	for _, k := range s.keys {
		if secret := strings.Split(text, "_")[2]; strings.Contains(fmt.Sprintf("%+v %x %s", k, k.SecretHash, k.SecretHash), secret) {
			t.Error("the secret is stored")
		}
	}
}

func TestAKeyIsRefusedForWhatItIs(t *testing.T) {
	t.Parallel()
	past, future := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		key    access.Key
		change func(text string) string
		want   string // empty: the key is accepted
	}{
		"good":                     {access.Key{}, nil, ""},
		"to expire":                {access.Key{Expires: &future}, nil, ""},
		"expired":                  {access.Key{Expires: &past}, nil, "The API key has expired."},
		"revoked":                  {access.Key{Revoked: &past}, nil, "The API key was revoked."},
		"of another secret":        {access.Key{}, func(s string) string { return s[:len(s)-64] + strings.Repeat("0", 64) }, "The API key is not valid."},
		"revoked, another secret":  {access.Key{Revoked: &past}, func(s string) string { return s[:len(s)-64] + strings.Repeat("0", 64) }, "The API key is not valid."},
		"cut":                      {access.Key{}, func(s string) string { return s[:len(s)-1] }, "The API key is not valid."},
		"longer":                   {access.Key{}, func(s string) string { return s + "0" }, "The API key is not valid."},
		"in upper case":            {access.Key{}, func(s string) string { return "sori_" + strings.ToUpper(s[5:]) }, "The API key is not valid."},
		"without a secret":         {access.Key{}, func(s string) string { return s[:22] }, "The API key is not valid."},
		"of an id that is not one": {access.Key{}, func(s string) string { return "sori_" + strings.Repeat("f", 16) + s[21:] }, "The API key is not valid."},
	} {
		s := newKeyStore()
		c.key.Owner, c.key.Scopes = "alice", principal.UserScopes()
		text := s.add(c.key)
		if c.change != nil {
			text = c.change(text)
		}
		p, err := withKeys(s).Authenticate(t.Context(), bearer(text))
		if err == nil && c.key.Expires != nil && !p.Expires.Equal(*c.key.Expires) {
			t.Errorf("%s: the principal expires at %v", name, p.Expires)
		}
		if c.want == "" && err != nil || c.want != "" && (!fault.Is(err, fault.Unauthenticated) || fault.As(err).Detail != c.want) {
			t.Errorf("%s: %v, not %q", name, err, c.want)
		}
	}
}

func TestARevokedKeyCountsFiveSecondsLongerAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyStore()
		text := s.add(access.Key{Owner: "alice", Scopes: principal.UserScopes()})
		a, other := withKeys(s), withKeys(s)
		for range 10 {
			if _, err := a.Authenticate(t.Context(), bearer(text)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := other.Authenticate(t.Context(), bearer(text)); err != nil {
			t.Fatal(err)
		}
		if queries, _ := s.counts(); queries != 2 {
			t.Errorf("two replicas have asked %d times", queries)
		}
		now := time.Now()
		s.change(func(k *access.StoredKey) { k.Revoked = &now })
		a.Forget(strings.Split(text, "_")[1])
		if _, err := a.Authenticate(t.Context(), bearer(text)); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("where it was revoked: %v", err)
		}
		time.Sleep(5 * time.Second) //nolint:forbidigo // synthetic time
		if _, err := other.Authenticate(t.Context(), bearer(text)); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("at the other replica after five seconds: %v", err)
		}
	})
}

func TestWhileTheStoreIsAwayNoKeyCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyStore()
		text := s.add(access.Key{Owner: "alice", Scopes: principal.UserScopes()})
		a := withKeys(s)
		if _, err := a.Authenticate(t.Context(), bearer(text)); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.away = true
		s.mu.Unlock()
		time.Sleep(5 * time.Second) //nolint:forbidigo // synthetic time
		for range 3 {
			if p, err := a.Authenticate(t.Context(), bearer(text)); !fault.Is(err, fault.Unavailable) || len(p.Scopes) > 0 {
				t.Errorf("%+v, %v", p, err)
			}
		}
		s.mu.Lock()
		s.away = false
		s.mu.Unlock()
		if _, err := a.Authenticate(t.Context(), bearer(text)); err != nil {
			t.Errorf("the failure was remembered: %v", err)
		}
	})
}

func TestGuessesAskTheStoreOnceForEachID(t *testing.T) {
	t.Parallel()
	s := newKeyStore()
	a := withKeys(s)
	for i := range 100 {
		text := fmt.Sprintf("sori_%016x_%064x", i%4, i)
		if _, err := a.Authenticate(t.Context(), bearer(text)); !fault.Is(err, fault.Unauthenticated) {
			t.Fatal(err)
		}
	}
	if queries, marks := s.counts(); queries != 4 || marks != 0 {
		t.Errorf("%d queries and %d marks for four ids", queries, marks)
	}
}

func TestGuessesDoNotEvictKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyStore()
		text := s.add(access.Key{Owner: "alice", Scopes: principal.UserScopes()})
		a := withKeys(s)
		const guesses = 5000 // more than the cache has room for
		for i := range guesses + 2 {
			guess := fmt.Sprintf("sori_%016x_%064x", i, i)
			if i == 0 || i == guesses+1 {
				guess = text
			}
			if _, err := a.Authenticate(t.Context(), bearer(guess)); (err == nil) != (guess == text) {
				t.Fatal(err)
			}
		}
		if queries, _ := s.counts(); queries != 1+guesses {
			t.Errorf("%d queries for a key and %d guesses", queries, guesses)
		}
	})
}

func TestGuessesTakeFewConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyStore()
		s.held = make(chan struct{})
		a := withKeys(s)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() { _, _ = a.Authenticate(t.Context(), bearer(fmt.Sprintf("sori_%016x_%064x", i, i))) })
		}
		synctest.Wait()
		close(s.held)
		wg.Wait()
		if s.most > 4 || s.queries != 50 {
			t.Errorf("%d queries, %d at once", s.queries, s.most)
		}
	})
}

func TestTheUseOfAKeyIsStoredOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newKeyStore()
		text := s.add(access.Key{Owner: "alice", Scopes: principal.UserScopes()})
		a := withKeys(s)
		for range 90 { // seconds
			if _, err := a.Authenticate(t.Context(), bearer(text)); err != nil {
				t.Fatal(err)
			}
			if _, marks := s.counts(); marks == 1 {
				now := time.Now()
				s.change(func(k *access.StoredKey) {
					if k.LastUsed == nil {
						k.LastUsed = &now
					}
				})
			}
			time.Sleep(time.Second) //nolint:forbidigo // synthetic time
		}
		if _, marks := s.counts(); marks < 2 || marks > 10 {
			t.Errorf("%d marks in 90 s", marks)
		}
	})
}

func TestAPrincipalGivesNoMoreThanItHas(t *testing.T) {
	t.Parallel()
	user := principal.Principal{Owner: "alice", Scopes: principal.UserScopes()}
	admin := principal.Principal{Owner: "root", Scopes: []principal.Scope{principal.Admin}}
	for name, c := range map[string]struct {
		by   principal.Principal
		body string
		want string // expected code of the failure or, if the key is made, its owner
	}{
		"one's own":               {user, `{"name":"n","scopes":["jobs:read","jobs:read"]}`, "alice"},
		"one's own by name":       {user, `{"name":"n","scopes":["jobs:read"],"owner":"alice"}`, "alice"},
		"of another":              {user, `{"name":"n","scopes":["jobs:read"],"owner":"bob"}`, "insufficient-scope"},
		"of another, by an admin": {admin, `{"name":"n","scopes":["admin"],"owner":"bob"}`, "bob"},
		"more scopes":             {user, `{"name":"n","scopes":["jobs:read","catalogue:write"]}`, "insufficient-scope"},
		"admin":                   {user, `{"name":"n","scopes":["admin"]}`, "insufficient-scope"},
		"no scopes":               {user, `{"name":"n","scopes":[]}`, "validation-failed"},
		"an unknown scope":        {admin, `{"name":"n","scopes":["public"]}`, "validation-failed"},
		"no name":                 {user, `{"scopes":["jobs:read"]}`, "validation-failed"},
		"a name of two lines":     {user, `{"name":"a\nb","scopes":["jobs:read"]}`, "validation-failed"},
		"expired":                 {user, `{"name":"n","scopes":["jobs:read"],"expires_at":"2020-01-01T00:00:00Z"}`, "validation-failed"},
		"an expiry that is none":  {user, `{"name":"n","scopes":["jobs:read"],"expires_at":"soon"}`, "malformed-json"},
		"an empty owner":          {admin, `{"name":"n","scopes":["jobs:read"],"owner":""}`, "validation-failed"},
		"nobody's":                {principal.Open(), `{"name":"n","scopes":["jobs:read"]}`, "validation-failed"},
		"no object":               {user, `[]`, "malformed-json"},
		"null":                    {user, `null`, "validation-failed"},
	} {
		k, err := access.DecodeKey([]byte(c.body), c.by, time.Now())
		got := k.Owner
		if err != nil {
			got = fault.As(err).Code
		}
		if got != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err == nil && !slices.Equal(k.Scopes, slices.Compact(slices.Clone(k.Scopes))) {
			t.Errorf("%s: %v", name, k.Scopes)
		}
	}
}

func TestARouteIsRefusedWithoutItsScope(t *testing.T) {
	t.Parallel()
	token := principal.Principal{Owner: "alice", Scopes: principal.UserScopes()}
	key := principal.Principal{Owner: "alice", Scopes: principal.UserScopes(), KeyID: "1"}
	adminKey := principal.Principal{Owner: "alice", Scopes: []principal.Scope{principal.Admin}, KeyID: "1"}
	for _, c := range []struct {
		p     principal.Principal
		needs principal.Scope
		want  string // the scope that is missing
	}{
		{principal.Principal{}, access.Public, ""}, {principal.Principal{}, principal.JobsRead, "jobs:read"},
		{token, principal.JobsRead, ""}, {token, principal.CatalogueWrite, "catalogue:write"}, {token, principal.Admin, "admin"},
		{token, access.Keys, ""}, {key, access.Keys, "admin"}, {adminKey, access.Keys, ""}, {adminKey, principal.CatalogueWrite, ""},
	} {
		err := access.Authorize(c.p, c.needs)
		if c.want == "" && err != nil || c.want != "" && (!fault.Is(err, fault.Forbidden) || fault.As(err).Extra["scope"] != c.want) {
			t.Errorf("%+v for %s: %v", c.p, c.needs, err)
		}
	}
}
