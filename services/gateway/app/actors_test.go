package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestAnActorIsCreatedReplacedAndDeleted(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	made := g.send("POST", "/actors/", `{"name":" 하나 ","id":7}`)
	path := made.Header.Get("Location")
	want := `{"id":1,"name":"하나"}`
	if made.StatusCode != http.StatusCreated || string(made.text) != want || path != "/actors/1" {
		t.Errorf("created %s, %s: %s", made.Status, path, made.text)
	}
	if r := g.get(path + "/"); string(r.text) != want {
		t.Errorf("read: %s", r.text)
	}
	if r := g.get("/actors/"); string(r.text) != "["+want+"]" {
		t.Errorf("listed: %s", r.text)
	}
	if r := g.send("PUT", path, `{"name":"둘"}`); r.StatusCode != http.StatusOK || string(r.text) != `{"id":1,"name":"둘"}` {
		t.Errorf("replaced %s: %s", r.Status, r.text)
	}
	if r := g.do("DELETE", path, nil, nil); r.StatusCode != http.StatusOK || string(r.text) != `{"detail":"Actor deleted successfully"}` {
		t.Errorf("deleted %s: %s", r.Status, r.text)
	}
	g.problem(g.ask(path), 404, "actor-not-found")
	g.problem(g.ask(path+"/tokens"), 404, "actor-not-found")
}

func TestBadActorsAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	path := g.add("/actors", `{"name":"`+strings.Repeat("가", 255)+`"}`)
	for _, to := range [][2]string{{"POST", "/actors"}, {"PUT", path}} {
		for body, want := range map[string]string{
			`{}`: "/name: is required", `{"name":null}`: "/name: is required", `{"name":"　 "}`: "/name: is required", `{"name":7}`: "/name: must be a string",
			`{"name":"a\u0000"}`: "/name: must not contain control characters", `{"name":"a\tb"}`: "/name: must not contain control characters",
			`{"name":"` + strings.Repeat("x", 10_000) + `"}`: "/name: must have at most 255 characters",
		} {
			g.invalid(g.send(to[0], to[1], body), want)
		}
	}
}

func TestNoTwoActorsHaveOneName(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for round := range 5 {
		answers := g.atOnce(16, "POST", "/actors", fmt.Sprintf(`{"name":"배우 %d"}`, round), nil)
		g.oneSucceeds(answers, http.StatusCreated, http.StatusConflict, "actor-exists")
	}
	other := g.add("/actors", `{"name":"other"}`)
	g.problem(g.send("PUT", other, `{"name":"배우 0"}`), http.StatusConflict, "actor-exists")
	g.problem(g.send("POST", "/actors", `{"name":"\u1107\u1162\u110b\u116e 0"}`), http.StatusConflict, "actor-exists") // in NFD
	if r := g.send("PUT", other, `{"name":"other"}`); r.StatusCode != http.StatusOK {
		t.Errorf("its own name: %s: %s", r.Status, r.text)
	}
}

func TestActorsAreSearchedByPartsOfTheirNames(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, name := range []string{"김하나", "하나 Kim", "100%", "a_b", "ÉMILE/X", "search"} {
		g.add("/actors", fmt.Sprintf(`{"name":%q}`, name))
	}
	for part, want := range map[string]string{
		"하나": "1 2", "kim": "2", "KIM": "2", "%": "3", "_": "4", "é": "5", "e/x": "5", "나 k": "2", "x": "5", "search": "6", "없다": "",
		"\u1112\u1161\u1102\u1161": "1 2", // 하나 in NFD, as macOS sends it
		`\`:                        "", "'": "", "a%b": "",
	} {
		for _, slash := range []string{"", "/"} {
			if got := g.ids("/actors/search/" + url.PathEscape(part) + slash); got != want {
				t.Errorf("%q: %s, want %s", part, got, want)
			}
		}
	}
	if got := g.ids("/actors/search/" + url.PathEscape("하나") + "?skip=1&limit=1"); got != "2" {
		t.Errorf("the second one: %s", got)
	}
	// curl sends the path like this: bytes without percent escapes.
	w := g.dial()
	w.send("GET /actors/search/하나 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if r := w.answer(); r.StatusCode != http.StatusOK || !strings.Contains(string(r.text), "김하나") {
		t.Errorf("unescaped: %s: %s", r.Status, r.text)
	}
	g.invalid(g.ask("/actors/search/%00"), "name: must be text in UTF-8 without control characters")
	g.invalid(g.ask("/actors/search/%ff?limit=x"), "name: must be text in UTF-8 without control characters", "limit: must be an integer from 1 to 500")
	w.send("GET /actors/search/%%zz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	g.invalid(w.answer(), "name: must be percent-encoded text")
}

func TestTheTokensOfAnActorAreThoseWithItsName(t *testing.T) {
	t.Parallel()
	g := start(t, nil) // start has created a token with the actor 하나
	actor := g.add("/actors", `{"name":"하나"}`)
	g.create(`{"token_name":"a","actor_name":"하나둘","start_time":0,"end_time":1}`)
	path := fmt.Sprintf("/tokens/%d", g.token)
	if got := g.ids(actor + "/tokens"); got != fmt.Sprint(g.token) {
		t.Errorf("the tokens are %s", got)
	}
	tag := g.get(path).Header.Get("ETag")
	if r := g.send("PUT", actor, `{"name":"두나"}`); r.StatusCode != http.StatusOK {
		t.Fatalf("renamed: %s: %s", r.Status, r.text)
	}
	if got := g.get(path).json(t)["actor_name"]; got != "두나" || g.ids(actor+"/tokens/") != fmt.Sprint(g.token) {
		t.Errorf("renamed, its token is of %v", got)
	}
	// Renaming the actor has changed the version of the token. So an edit of the previous version,
	// which still has the old name, is refused.
	r := g.do("PUT", path, strings.NewReader(`{"token_name":"a","actor_name":"하나","start_time":0,"end_time":1}`), map[string]string{"If-Match": tag})
	g.problem(r, http.StatusPreconditionFailed, "precondition-failed")
	if got := g.ids("/tokens?actor_name=하나둘"); got != "2" {
		t.Errorf("the other actor's tokens are %s", got)
	}
	if r := g.do("DELETE", actor, nil, nil); r.StatusCode != http.StatusOK {
		t.Fatalf("deleted: %s", r.Status)
	}
	if got := g.get(path).json(t)["actor_name"]; got != "두나" {
		t.Errorf("without the actor the token is of %v", got)
	}
}
