package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestATokensLife(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	made := g.do("POST", "/tokens/", strings.NewReader(`{"token_name":"안녕","actor_name":"하나","category":"인사","start_time":0.5,"end_time":2,
		"s3_pitch_url":"s3://b/k","youtube_url":null,"unknown":[1]}`), nil)
	id := made.json(t)["id"]
	path := fmt.Sprintf("/tokens/%v", id)
	want := fmt.Sprintf(`{"id":%v,"token_name":"안녕","actor_name":"하나","category":"인사","start_time":0.5,"end_time":2,`+
		`"s3_textgrid_url":null,"s3_pitch_url":"s3://b/k","s3_bgvoice_url":null,"youtube_url":null,"scripts":[]}`, id)
	if made.StatusCode != http.StatusCreated || string(made.text) != want || made.Header.Get("Location") != path {
		t.Errorf("created %s, %s: %s", made.Status, made.Header.Get("Location"), made.text)
	}
	if r := g.do("GET", path+"/", nil, nil); r.StatusCode != http.StatusOK || string(r.text) != want {
		t.Errorf("read %s: %s", r.Status, r.text)
	}
	put := g.do("PUT", path, strings.NewReader(`{"token_name":"b","actor_name":"c","start_time":1,"end_time":3}`), nil)
	if m := put.json(t); put.StatusCode != http.StatusOK || m["token_name"] != "b" || m["category"] != nil || m["id"] != id {
		t.Errorf("replaced %s: %s", put.Status, put.text)
	}
	if r := g.do("DELETE", path, nil, nil); r.StatusCode != http.StatusOK || string(r.text) != `{"detail":"Token deleted successfully"}` {
		t.Errorf("deleted %s: %s", r.Status, r.text)
	}
	for _, method := range []string{"GET", "DELETE", "PUT"} {
		body := strings.NewReader(`{"token_name":"b","actor_name":"c","start_time":1,"end_time":3}`)
		g.problem(g.do(method, path, body, nil), 404, "token-not-found")
		g.problem(g.do(method, "/tokens/x", strings.NewReader("{}"), nil), 422, "validation-failed")
	}
}

func TestTokensAreListed(t *testing.T) {
	t.Parallel()
	g := start(t, nil) // which has made one
	for i := range 4 {
		g.create(fmt.Sprintf(`{"token_name":"Line %d%%","actor_name":"actor%d","category":"c","start_time":0,"end_time":1}`, i, i%2))
	}
	for query, want := range map[string]string{
		"": "2 3 4 5 1", "?skip=1&limit=2": "2 3", "?category=c": "2 3 4 5", "?category=c&actor_name=actor1": "3 5", "?q=LINE+2": "4",
		"?q=%25": "2 3 4 5", "?q=_": "", "?skip=99": "", "?category=%27%20OR%201=1": "",
	} {
		r := g.do("GET", "/tokens"+query, nil, nil)
		var ids []string
		for i := range 5 {
			if strings.Contains(string(r.text), fmt.Sprintf(`{"id":%d,`, i+1)) {
				ids = append(ids, fmt.Sprint(i+1))
			}
		}
		wanted := strings.Fields(want)
		if r.StatusCode != http.StatusOK || len(ids) != len(wanted) || !strings.HasPrefix(string(r.text), "[") {
			t.Errorf("%q: %s: %v, want %v", query, r.Status, ids, wanted)
		}
		for _, id := range wanted {
			if !strings.Contains(string(r.text), `{"id":`+id+`,`) {
				t.Errorf("%q lacks %s", query, id)
			}
		}
	}
	for _, query := range []string{"?skip=-1&limit=501", "?limit=0&skip=x", "?limit=99999999999999999999&skip=1e3"} {
		m := g.problem(g.do("GET", "/tokens"+query, nil, nil), 422, "validation-failed")
		if errors, _ := m["errors"].([]any); len(errors) != 2 {
			t.Errorf("%q: %v", query, m["errors"])
		}
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	post := func(body string) reply { return g.do("POST", "/tokens/", strings.NewReader(body), nil) }
	for _, body := range []string{"", "{", "{} {}", "\xff"} {
		g.problem(post(body), 400, "malformed-json")
	}
	m := g.problem(post(`{"token_name":" ","start_time":"x","end_time":-1,"category":7,"youtube_url":"`+strings.Repeat("x", 2049)+`","s3_pitch_url":"\u0000"}`), 422, "validation-failed")
	if got, want := fmt.Sprint(m["errors"]), "[map[detail:is required pointer:/token_name] map[detail:is required pointer:/actor_name] "+
		"map[detail:must be a string pointer:/category] map[detail:must be a number of seconds pointer:/start_time] "+
		"map[detail:must not contain the character U+0000 pointer:/s3_pitch_url] map[detail:must have at most 2048 characters pointer:/youtube_url]]"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for _, times := range []string{`"start_time":-1,"end_time":1`, `"start_time":1,"end_time":1`, `"start_time":2,"end_time":1`, `"start_time":1e999,"end_time":2`, `"start_time":0`} {
		g.problem(post(`{"token_name":"a","actor_name":"b",`+times+`}`), 422, "validation-failed")
	}
	g.problem(post(`[1]`), 422, "validation-failed")
	g.problem(post(`null`), 422, "validation-failed")
	m = g.problem(post(`{"token_name":"`+strings.Repeat("x", 1<<20)+`"}`), 413, "too-large")
	if m["max_bytes"] != float64(1<<20) {
		t.Errorf("max_bytes is %v", m["max_bytes"])
	}
}
