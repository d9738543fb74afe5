package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestAScriptIsCreatedReplacedAndDeleted(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	made := g.send("POST", "/scripts/", fmt.Sprintf(`{"token_id":%d,"start_time":0,"end_time":1.5,"script":"안녕하세요\n반가워요","translation":"Hello","id":7}`, g.token))
	path := made.Header.Get("Location")
	id := made.json(t)["id"]
	want := fmt.Sprintf(`{"id":%v,"token_id":%d,"start_time":0,"end_time":1.5,"script":"안녕하세요\n반가워요","translation":"Hello"}`, id, g.token)
	if made.StatusCode != http.StatusCreated || string(made.text) != want || path != fmt.Sprintf("/scripts/%v", id) {
		t.Errorf("created %s, %s: %s", made.Status, path, made.text)
	}
	for _, slash := range []string{"", "/"} {
		if r := g.get(path + slash); string(r.text) != want {
			t.Errorf("read: %s", r.text)
		}
		if r := g.get("/scripts" + slash); string(r.text) != "["+want+"]" {
			t.Errorf("listed: %s", r.text)
		}
		if r := g.get(fmt.Sprintf("/scripts/token/%d%s", g.token, slash)); string(r.text) != "["+want+"]" {
			t.Errorf("listed for its token: %s", r.text)
		}
	}
	if r := g.get("/tokens"); !strings.Contains(string(r.text), `"scripts":[`+want+`]`) {
		t.Errorf("in the list of tokens: %s", r.text)
	}
	other := g.create(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`)["id"]
	if got := g.get(fmt.Sprintf("/scripts/token/%v", other)); string(got.text) != "[]" {
		t.Errorf("a token without scripts has %s", got.text)
	}
	put := g.send("PUT", path, fmt.Sprintf(`{"token_id":%v,"start_time":1,"end_time":2,"script":"b"}`, other))
	want = fmt.Sprintf(`{"id":%v,"token_id":%v,"start_time":1,"end_time":2,"script":"b","translation":null}`, id, other)
	if put.StatusCode != http.StatusOK || string(put.text) != want {
		t.Errorf("replaced %s: %s", put.Status, put.text)
	}
	if r := g.do("DELETE", path, nil, nil); r.StatusCode != http.StatusOK || string(r.text) != `{"detail":"Script deleted successfully"}` {
		t.Errorf("deleted %s: %s", r.Status, r.text)
	}
	g.problem(g.ask(path), 404, "script-not-found")
}

func TestBadScriptsAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	path := g.add("/scripts", fmt.Sprintf(`{"token_id":%d,"start_time":0,"end_time":1,"script":"%s"}`, g.token, strings.Repeat("가", 10_000)))
	for _, to := range [][2]string{{"POST", "/scripts"}, {"PUT", path}} {
		send := func(body string) reply { return g.send(to[0], to[1], body) }
		g.invalid(send(`{}`), "/token_id: is required", "/start_time: is required", "/end_time: is required", "/script: is required")
		g.invalid(send(`{"token_id":"1","start_time":[],"end_time":{},"script":1,"translation":false}`), "/token_id: must be a positive integer",
			"/start_time: must be a number of seconds", "/end_time: must be a number of seconds", "/script: must be a string", "/translation: must be a string")
		for _, id := range []string{"0", "-1", "1.5", "1e400", "99999999999999999999"} {
			g.invalid(send(`{"token_id":`+id+`,"start_time":0,"end_time":1,"script":"a"}`), "/token_id: must be a positive integer")
		}
		g.invalid(send(`{"token_id":1,"start_time":-1,"end_time":1,"script":"\n","translation":"a\u0000"}`), "/start_time: must not be negative",
			"/script: is required", "/translation: must not contain control characters")
		g.invalid(send(`{"token_id":1,"start_time":2,"end_time":1,"script":"`+strings.Repeat("x", 10_001)+`"}`),
			"/end_time: must be greater than start_time", "/script: must have at most 10000 characters")
		g.problem(send(`{"token_id":999,"start_time":0,"end_time":1,"script":"a"}`), http.StatusConflict, "token-missing")
	}
	if got := g.ids("/scripts"); got != "1" {
		t.Errorf("there are the scripts %s", got)
	}
}

func TestTheScriptsOfATokenAreInTheOrderOfItsTimeLine(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, start := range []int{3, 1, 2, 1} {
		g.add("/scripts", fmt.Sprintf(`{"token_id":%d,"start_time":%d,"end_time":9,"script":"a"}`, g.token, start))
	}
	if got := g.ids("/scripts"); got != "1 2 3 4" {
		t.Errorf("all: %s", got)
	}
	if got := g.ids(fmt.Sprintf("/scripts/token/%d", g.token)); got != "2 4 3 1" {
		t.Errorf("of the token: %s", got)
	}
	var detail struct{ Scripts []struct{ ID int } }
	g.get(fmt.Sprintf("/tokens/%d", g.token)).decode(t, &detail)
	if got := fmt.Sprint(detail.Scripts); got != "[{2} {4} {3} {1}]" {
		t.Errorf("in the token: %s", got)
	}
}
