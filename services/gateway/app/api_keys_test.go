package app_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sori.internal/shared/principal"
	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/testdb"
)

func TestAKeyIsMadeListedAndRevokedByItsOwner(t *testing.T) {
	t.Parallel()
	kit := testkit.New(t)
	kit.MigratedDatabase()
	g, other := securedIn(t, kit, nil, nil), securedIn(t, kit, nil, nil)
	alice, bob := token(t, "alice", nil), token(t, "bob", nil)
	text, id := g.key(alice, `{"name":"import","scopes":["catalogue:read"],"expires_at":"2099-01-01T00:00:00Z"}`)
	for _, replica := range []*env{g, other} {
		if r := replica.do("GET", "/tokens", nil, as(text)); r.StatusCode != http.StatusOK {
			t.Errorf("the key: %s %s", r.Status, r.text)
		}
	}
	keys := func(who string) (found []map[string]any) {
		r := g.do("GET", "/api-keys/", nil, as(who))
		r.decode(t, &found)
		if strings.Contains(string(r.text), strings.Split(text, "_")[2]) {
			t.Error("the list tells a secret")
		}
		return found
	}
	if found := keys(alice); len(found) != 1 || found[0]["id"] != id || found[0]["owner"] != "alice" || found[0]["last_used_at"] == nil || found[0]["revoked_at"] != nil {
		t.Errorf("alice's keys are %v", found)
	}
	if found := keys(bob); len(found) != 0 {
		t.Errorf("bob sees %v", found)
	}
	if found := keys(adminToken(t)); len(found) != 1 {
		t.Errorf("an admin sees %v", found)
	}
	g.problem(g.do("DELETE", "/api-keys/"+id, nil, as(bob)), http.StatusNotFound, "api-key-not-found")
	g.problem(g.do("DELETE", "/api-keys/nothing", nil, as(bob)), http.StatusNotFound, "api-key-not-found")
	for range 2 { // revoking twice is not a failure
		if r := g.do("DELETE", "/api-keys/"+id, nil, as(alice)); r.StatusCode != http.StatusNoContent {
			t.Fatalf("revoke: %s %s", r.Status, r.text)
		}
	}
	g.problem(g.do("GET", "/tokens", nil, as(text)), http.StatusUnauthorized, "invalid-token")
	revoked := time.Now()
	testkit.Eventually(t, func() error {
		if r := other.do("GET", "/tokens", nil, as(text)); r.StatusCode != http.StatusUnauthorized {
			return fmt.Errorf("another replica answers %s %v later", r.Status, time.Since(revoked))
		}
		return nil
	})
	g.problem(g.do("POST", "/api-keys", strings.NewReader(`{"name":"x","scopes":["admin"]}`), as(alice)), http.StatusForbidden, "insufficient-scope")
	g.problem(g.do("POST", "/api-keys", strings.NewReader(`{"name":"x","scopes":["jobs:read"],"owner":"bob"}`), as(alice)), http.StatusForbidden, "insufficient-scope")
}

func TestAKeyExpiresAtATimeThatEveryListCanShow(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, nil)
	alice := token(t, "alice", nil)
	for _, expires := range []string{"9999-12-31T23:59:59-00:01", "2020-01-01T00:00:00Z"} {
		body := `{"name":"n","scopes":["jobs:read"],"expires_at":"` + expires + `"}`
		g.problem(g.do("POST", "/api-keys", strings.NewReader(body), as(alice)), http.StatusUnprocessableEntity, "validation-failed")
	}
	for _, expires := range []string{"9999-12-31T23:59:59Z", "2099-01-01T00:00:00+23:59"} { // valid, although Postgres rejects the offset +23:59
		g.key(alice, `{"name":"n","scopes":["jobs:read"],"expires_at":"`+expires+`"}`)
	}
	for _, who := range []string{alice, adminToken(t)} {
		if r := g.do("GET", "/api-keys", nil, as(who)); r.StatusCode != http.StatusOK || !strings.Contains(string(r.text), `"2098-12-31T00:01:00Z"`) {
			t.Errorf("%s %s", r.Status, r.text)
		}
	}
}

func TestAnOwnerHasAtMost200Keys(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, nil)
	alice := token(t, "alice", nil)
	const body = `{"name":"n","scopes":["jobs:read"]}`
	for range 200 {
		g.key(alice, body)
	}
	g.problem(g.do("POST", "/api-keys", strings.NewReader(body), as(alice)), http.StatusConflict, "too-many-api-keys")
	g.key(token(t, "bob", nil), body)
}

// holdKeys makes the insertion of every key wait until the returned function is called.
func (g *env) holdKeys() (release func()) {
	g.t.Helper()
	db, ctx := testdb.Open(g.kit, "catalogue"), g.kit.Context()
	const trigger = `
		CREATE FUNCTION catalogue.hold() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END';
		CREATE TRIGGER hold BEFORE INSERT ON catalogue.api_keys FOR EACH ROW EXECUTE FUNCTION catalogue.hold()`
	if _, err := db.ExecContext(ctx, trigger); err != nil {
		g.t.Fatal(err)
	}
	lock, err := db.BeginTxx(ctx, nil)
	if err == nil {
		_, err = lock.ExecContext(ctx, `SELECT pg_advisory_xact_lock(1)`)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		_ = lock.Rollback()
		if _, err := db.ExecContext(ctx, `DROP FUNCTION catalogue.hold CASCADE`); err != nil { // the next test may get the same database
			g.t.Error(err)
		}
	})
}

func TestKeysThatAreMadeAtTheSameTimeCountForEachOther(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, nil)
	const filled = `
		INSERT INTO catalogue.api_keys (id, owner, name, scopes, secret_hash)
		SELECT lpad(n::text, 16, '0'), 'alice', 'n', '{jobs:read}', sha256('x')
		FROM generate_series(1, 199) AS n`
	if _, err := testdb.Open(g.kit, "catalogue").ExecContext(g.kit.Context(), filled); err != nil {
		t.Fatal(err)
	}
	release, alice := g.holdKeys(), token(t, "alice", nil)
	defer release()
	made := make(chan int, 4)
	for range cap(made) {
		go func() {
			r, err := g.try(g.kit.Context(), "POST", "/api-keys", strings.NewReader(`{"name":"n","scopes":["jobs:read"]}`), as(alice))
			if err != nil {
				t.Error(err)
			}
			made <- r.StatusCode
		}()
	}
	g.awaitCondition(`(SELECT count(*) >= 4 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())`)
	release()
	statuses := map[int]int{}
	for range cap(made) {
		statuses[<-made]++
	}
	if statuses[http.StatusCreated] != 1 || statuses[http.StatusConflict] != 3 {
		t.Errorf("one more key was allowed, and the answers are %v", statuses)
	}
}

func TestWhileTheDatabaseIsAwayNoKeyCounts(t *testing.T) {
	t.Parallel()
	kit := testkit.New(t)
	proxy := kit.Proxy(kit.MigratedDatabase())
	g := securedIn(t, kit, nil, map[string]string{"DATABASE_URL": proxy.URL})
	text, _ := g.keyWith(principal.Admin)
	proxy.Cut()
	testkit.Eventually(t, func() error { // retried until the cached entry of the key has expired
		r := g.do("GET", "/tokens", nil, as(text))
		if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
			return fmt.Errorf("%s %s", r.Status, r.text)
		}
		return nil
	})
	g.problem(g.do("GET", "/tokens", nil, as("sori_"+strings.Repeat("0", 16)+"_"+strings.Repeat("0", 64))), http.StatusServiceUnavailable, "unavailable")
	g.problem(g.do("GET", "/tokens", nil, as("x")), http.StatusUnauthorized, "invalid-token")
}

func TestARequestCanAskWhoseCredentialItHas(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, nil)
	key, id := g.key(adminToken(t), `{"name":"test","owner":"mina","scopes":["catalogue:read","jobs:read"],"expires_at":"2100-01-01T09:00:00+09:00"}`)
	endless, _ := g.keyWith(principal.JobsWrite)
	for name, c := range map[string]struct {
		credential string
		want       map[string]any
	}{
		"a user":   {token(t, "alice", nil), map[string]any{"owner": "alice", "scopes": []any{"jobs:read", "jobs:write", "catalogue:read"}, "api_key": nil}},
		"an admin": {adminToken(t), map[string]any{"owner": "root", "scopes": []any{"admin"}, "api_key": nil}},
		"a token of fewer scopes": {token(t, "alice", jwt.MapClaims{"scope": "openid jobs:read"}), map[string]any{
			"owner": "alice", "scopes": []any{"jobs:read"}, "api_key": nil,
		}},
		"a token that has none": {token(t, "alice", jwt.MapClaims{"scope": "catalogue:write"}), map[string]any{
			"owner": "alice", "scopes": []any{}, "api_key": nil,
		}},
		"a key": {key, map[string]any{
			"owner": "mina", "scopes": []any{"catalogue:read", "jobs:read"}, "api_key": id, "expires_at": "2100-01-01T00:00:00Z",
		}},
		"a key that does not expire": {endless, map[string]any{"owner": "alice", "scopes": []any{"jobs:write"}, "expires_at": nil}},
	} {
		r := g.do("GET", "/me", nil, as(c.credential))
		got := r.json(t)
		for member, want := range c.want {
			if !reflect.DeepEqual(got[member], want) {
				t.Errorf("%s: %s is %v, not %v", name, member, got[member], want)
			}
		}
		if r.StatusCode != http.StatusOK || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s %v", name, r.Status, r.Header)
		}
	}
	open := start(t, nil)
	if r := open.do("GET", "/me", nil, nil); string(r.text) != `{"owner":"","scopes":["admin"],"api_key":null,"expires_at":null}` {
		t.Errorf("open: %s: %s", r.Status, r.text)
	}
}
