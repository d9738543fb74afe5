package app_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"sori.internal/shared/testkit/testdb"
)

// maxText is the largest number of bytes of scripts and translations in an answer. otherText is the
// largest number of other bytes in the answers of these tests.
const maxText, otherText = 2 << 20, 200_000

type listedToken struct {
	ID      int64
	Scripts []struct {
		ID   int64
		Text string `json:"script"`
	}
	Truncated bool `json:"scripts_truncated"`
}

// addLongScripts adds scripts of 10 000 characters in Hangul (30 kB) to a token.
func (g *env) addLongScripts(token int64, n int) {
	g.t.Helper()
	g.sql(`INSERT INTO catalogue.scripts (token_id, start_time, end_time, script)
		SELECT $1, n, n + 1, repeat(chr(44032 + n), 10000) FROM generate_series(1, $2) AS n`, token, n)
}

func TestAnAnswerHasAtMostTwoMebibytesOfScripts(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.addLongScripts(g.token, 40)
	other := int64(g.create(`{"token_name":"b","actor_name":"c","start_time":0,"end_time":1}`)["id"].(float64)) //nolint:forcetypeassert // without an id, the panic fails the test
	g.addLongScripts(other, 60)
	last := int64(g.create(`{"token_name":"c","actor_name":"c","start_time":0,"end_time":1}`)["id"].(float64)) //nolint:forcetypeassert // as above

	r := g.get("/tokens")
	var tokens []listedToken
	r.decode(t, &tokens)
	if len(r.text) > maxText+otherText {
		t.Errorf("the list of tokens has %d bytes", len(r.text))
	}
	want := map[int64]struct {
		scripts   int
		truncated bool
	}{g.token: {40, false}, other: {29, true}, last: {0, false}} // 69 × 30 000 < 2 MiB
	for _, token := range tokens {
		if w := want[token.ID]; len(token.Scripts) != w.scripts || token.Truncated != w.truncated {
			t.Errorf("token %d shows %d scripts, truncated: %v, want %v", token.ID, len(token.Scripts), token.Truncated, w)
		}
	}
	for _, path := range []string{"/tokens?expand=none", "/tokens?expand=none&q=b"} {
		if r := g.get(path); strings.Contains(string(r.text), "각") || !strings.Contains(string(r.text), `"scripts":[]`) {
			t.Errorf("%s shows scripts: %.300s", path, r.text)
		}
	}
	g.invalid(g.ask("/tokens?expand=all"), `expand: must be "scripts" or "none"`)
	for _, path := range []string{"/scripts?limit=500", fmt.Sprintf("/scripts/token/%d?limit=500", other)} {
		var seen []int64
		for next := path; next != ""; {
			r := g.get(next)
			var page []struct{ ID int64 }
			r.decode(t, &page)
			if len(r.text) > maxText+otherText || len(page) == 0 {
				t.Fatalf("%s: %d bytes, %d entries", next, len(r.text), len(page))
			}
			for _, script := range page {
				seen = append(seen, script.ID)
			}
			next = r.links(t)["next"]
		}
		if all := slices.Compact(slices.Sorted(slices.Values(seen))); len(all) != len(seen) || len(all) != map[bool]int{true: 100, false: 60}[strings.HasPrefix(path, "/scripts?")] {
			t.Errorf("%s: the pages have %d scripts, %d of them different", path, len(seen), len(all))
		}
	}
}

func TestATokenWithMoreThan500ScriptsSaysSo(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.sql(`INSERT INTO catalogue.scripts (token_id, start_time, end_time, script)
		SELECT $1, n, n + 1, 'a' FROM generate_series(1, 500) AS n`, g.token)
	path := fmt.Sprintf("/tokens/%d", g.token)
	for _, more := range []bool{false, true} {
		var token listedToken
		g.get(path).decode(t, &token)
		if len(token.Scripts) != 500 || token.Truncated != more {
			t.Errorf("%d scripts, truncated: %v, want %v", len(token.Scripts), token.Truncated, more)
		}
		g.add("/scripts", fmt.Sprintf(`{"token_id":%d,"start_time":900,"end_time":901,"script":"last"}`, g.token))
	}
}

func TestASearchFindsEveryCharacterAsItIs(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	names := []string{`50% off`, `50 % off`, `snake_case`, `snakeXcase`, `back\\slash`, `안녕하세요`, `ÀÉÎ`, `a`}
	for _, name := range names {
		g.add("/actors", `{"name":"`+name+`"}`)
	}
	for part, want := range map[string]int{"%25": 2, "50%25": 1, "_": 1, "e_c": 1, "%5C": 1, "녕하": 1, "녕": 1, "àé": 1, "A": 4, "%5C%25": 0} {
		var found []struct{ Name string }
		g.get("/actors/search/"+part).decode(t, &found)
		if len(found) != want {
			t.Errorf("%q: %v, want %d names", part, found, want)
		}
	}
}

// blockLists locks a table and has 16 clients list it, so that their lists hold connections to the
// database while they wait for the lock. The returned function unlocks the table and stops the
// clients.
func (g *env) blockLists(header map[string]string) (end func()) {
	g.t.Helper()
	ctx, stop := context.WithCancel(g.kit.Context())
	lock, err := testdb.Open(g.kit, "catalogue").BeginTxx(ctx, nil)
	if err == nil {
		_, err = lock.ExecContext(ctx, `LOCK TABLE catalogue.actors IN ACCESS EXCLUSIVE MODE`)
	}
	if err != nil {
		stop()
		g.t.Fatal(err)
	}
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for ctx.Err() == nil {
				_, _ = g.try(ctx, http.MethodGet, "/actors", nil, header)
			}
		})
	}
	return func() {
		stop() // also rolls the transaction back
		clients.Wait()
	}
}

// A search for one letter reads every name, so that many searches once used every connection, and
// uploads were answered with 503. Here the lists wait for a lock, which holds their connections.
func TestUploadsAreAcceptedWhileListsWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"DATABASE_MAX_CONNECTIONS": "4"})
	defer g.blockLists(nil)()
	g.awaitCondition(`(SELECT count(*) >= 2 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())`)
	if r := g.upload(nil, part{name: "file", file: "a.wav", content: wav(100)}); r.StatusCode != http.StatusAccepted {
		t.Errorf("an upload is answered with %s: %s", r.Status, r.text)
	}
}

func TestOneUsersListsLeavePlacesForThoseOfOthers(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, map[string]string{"DATABASE_MAX_CONNECTIONS": "16"}) // 8 connections for lists, 2 of them for the lists of one user
	alice, bob := as(token(t, "alice", nil)), as(token(t, "bob", nil))
	defer g.blockLists(alice)()
	const waiting = `(SELECT count(*) %s FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())`
	g.awaitCondition(fmt.Sprintf(waiting, ">= 2"))
	for range 20 {
		if r := g.do(http.MethodGet, "/tokens/", nil, bob); r.StatusCode != http.StatusOK {
			t.Errorf("another user's list is answered with %s: %s", r.Status, r.text)
		}
	}
	g.awaitCondition(fmt.Sprintf(waiting, "<= 2"))
}
