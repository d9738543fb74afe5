package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestATokenIsCreatedReplacedAndDeleted(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	made := g.send("POST", "/tokens/", `{"token_name":" 안녕 ","actor_name":"하나","category":"인사","start_time":0.5,"end_time":2,
		"s3_pitch_url":"s3://b/k","youtube_url":null,"s3_textgrid_url":"","unknown":[1],"id":99}`)
	id := made.json(t)["id"]
	path := fmt.Sprintf("/tokens/%v", id)
	want := fmt.Sprintf(`{"id":%v,"token_name":"안녕","actor_name":"하나","category":"인사","start_time":0.5,"end_time":2,`+
		`"s3_textgrid_url":null,"s3_pitch_url":"s3://b/k","s3_bgvoice_url":null,"youtube_url":null,"scripts":[],"scripts_truncated":false`, id)
	if made.StatusCode != http.StatusCreated || string(made.text) != want+"}" || made.Header.Get("Location") != path {
		t.Errorf("created %s, %s: %s", made.Status, made.Header.Get("Location"), made.text)
	}
	if r := g.get(path + "/"); string(r.text) != want+`,"pitch":null,"bgvoice_url":null}` {
		t.Errorf("read: %s", r.text)
	}
	put := g.send("PUT", path+"/", `{"token_name":"b","actor_name":"c","start_time":1,"end_time":3}`)
	if m := put.json(t); put.StatusCode != http.StatusOK || m["token_name"] != "b" || m["category"] != nil || m["id"] != id {
		t.Errorf("replaced %s: %s", put.Status, put.text)
	}
	if r := g.do("DELETE", path+"/", nil, nil); r.StatusCode != http.StatusOK || string(r.text) != `{"detail":"Token deleted successfully"}` {
		t.Errorf("deleted %s: %s", r.Status, r.text)
	}
	g.problem(g.ask(path), 404, "token-not-found")
}

func TestTheScriptsOfADeletedTokenAreDeleted(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	gone := fmt.Sprintf("/tokens/%d", g.token)
	mine := g.add("/scripts", fmt.Sprintf(`{"token_id":%d,"start_time":0,"end_time":1,"script":"a"}`, g.token))
	kept := g.create(`{"token_name":"kept","actor_name":"b","start_time":0,"end_time":1}`)["id"]
	other := g.add("/scripts", fmt.Sprintf(`{"token_id":%v,"start_time":0,"end_time":1,"script":"b"}`, kept))
	if r := g.do("DELETE", gone, nil, nil); r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", r.Status, r.text)
	}
	g.problem(g.ask(mine), 404, "script-not-found")
	g.problem(g.ask(fmt.Sprintf("/scripts/token/%d", g.token)), 404, "token-not-found")
	g.get(other)
}

func TestTokensAreListed(t *testing.T) {
	t.Parallel()
	g := start(t, nil) // start has created one token
	for i := range 4 {
		g.create(fmt.Sprintf(`{"token_name":"Line %d%%","actor_name":"actor%d","category":"c","start_time":0,"end_time":1}`, i, i%2))
	}
	for query, want := range map[string]string{
		"": "1 2 3 4 5", "?skip=1&limit=2": "2 3", "?category=c": "2 3 4 5", "?category=c&actor_name=actor1": "3 5", "?q=LINE+2": "4",
		"?q=%25": "2 3 4 5", "?q=_": "", "?skip=99": "", "?category=%27%20OR%201=1": "", "?q=%EC%82%AC": "1", "?actor_name=%20하나": "1",
		"?q=%E1%84%8B%E1%85%B5%E1%86%AB": "1", // 인 in NFD, as macOS sends it
	} {
		for _, path := range []string{"/tokens", "/tokens/"} {
			if got := g.ids(path + query); got != want {
				t.Errorf("%s%s: %s, want %s", path, query, got, want)
			}
		}
	}
	for _, query := range []string{"?skip=-1&limit=501", "?limit=0&skip=x", "?limit=99999999999999999999&skip=1e3"} {
		g.invalid(g.ask("/tokens"+query), "skip: must be an integer from 0 to 9007199254740992", "limit: must be an integer from 1 to 500")
	}
	g.invalid(g.ask("/tokens?q=%00&category=%ff&actor_name=a%0ab"), "q: must be text in UTF-8 without control characters",
		"category: must be text in UTF-8 without control characters", "actor_name: must be text in UTF-8 without control characters")
}

func TestBadTokensAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	post := func(body string) reply { return g.send("POST", "/tokens/", body) }
	for _, body := range []string{"", "{", "{} {}", "\xff", "{\"token_name\":\"\xff\"}", `{"start_time":NaN}`, `{"end_time":Infinity}`} {
		g.problem(post(body), 400, "malformed-json")
	}
	for _, body := range []string{`[1]`, `null`, `"x"`, `7`} {
		g.invalid(post(body), ": must be a JSON object")
	}
	g.invalid(post(`{}`), "/token_name: is required", "/actor_name: is required", "/start_time: is required", "/end_time: is required")
	g.invalid(post(`{"token_name":" ","actor_name":"`+strings.Repeat("가", 10_000)+`","start_time":"x","end_time":-1,"category":7,
		"youtube_url":"`+strings.Repeat("x", 2049)+`","s3_pitch_url":"a\u0000b","s3_textgrid_url":["x"],"s3_bgvoice_url":"ftp://x/y"}`),
		"/token_name: is required", "/actor_name: must have at most 255 characters", "/category: must be a string",
		"/start_time: must be a number of seconds", "/s3_textgrid_url: must be a string", "/s3_pitch_url: must not contain control characters",
		"/s3_bgvoice_url: must be s3://bucket/key, an http or https URL, or a key", "/youtube_url: must have at most 2048 characters")
	for times, want := range map[string]string{
		`"start_time":-1,"end_time":1`:     "/start_time: must not be negative",
		`"start_time":-1e-9,"end_time":-2`: "/start_time: must not be negative",
		`"start_time":1,"end_time":1`:      "/end_time: must be greater than start_time",
		`"start_time":2,"end_time":1`:      "/end_time: must be greater than start_time",
		`"start_time":1e999,"end_time":2`:  "/start_time: must be a number of seconds",
		`"start_time":true,"end_time":2`:   "/start_time: must be a number of seconds",
		`"start_time":0`:                   "/end_time: is required",
		`"start_time":0,"end_time":null`:   "/end_time: is required",
	} {
		g.invalid(post(`{"token_name":"a","actor_name":"b",`+times+`}`), want)
	}
	g.invalid(post(`{"token_name":"a\nb","actor_name":"b\u0007c","start_time":0,"end_time":1}`),
		"/token_name: must not contain control characters", "/actor_name: must not contain control characters")
	g.create(`{"token_name":"` + strings.Repeat("가", 255) + `","actor_name":"b","start_time":0,"end_time":1e-300}`)
}

func TestReferencesAreDistinguishedFromOtherText(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	body := func(ref string) string {
		return fmt.Sprintf(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1,"s3_pitch_url":%q}`, ref)
	}
	for _, ref := range []string{"s3://b/k", "ref/1.json", "/ref/소리.json", "https://b.s3.amazonaws.com/k"} {
		if got := g.create(body(ref))["s3_pitch_url"]; got != ref {
			t.Errorf("%q became %v", ref, got)
		}
	}
	for _, ref := range []string{"s3://", "s3://b", "s3://b/", "s3:///k", "/", "ftp://b/k", "javascript://x", "https://", "http:///k", "http://%zz/"} {
		g.invalid(g.send("POST", "/tokens", body(ref)), "/s3_pitch_url: must be s3://bucket/key, an http or https URL, or a key")
	}
	recording := "audio/0198c5f5-8b1e-7b44-a4f6-0a4e3d3a5f11_a.wav"
	_, bucket := g.kit.Bucket()
	for _, ref := range []string{
		recording, "s3://" + bucket + "/" + recording, g.kit.Settings(nil)["S3_ENDPOINT"] + "/" + bucket + "/" + recording,
		"https://" + bucket + ".s3.amazonaws.com/" + recording, "s3://" + bucket + "/ref/../" + recording, "s3://another/k",
	} {
		g.invalid(g.send("POST", "/tokens", body(ref)), "/s3_pitch_url: must name an object that references may name (setting REFERENCE_PREFIXES)")
	}
	for _, ref := range []string{"http://127.0.0.1:9/b/k", "https://example.com/x?y=1#z"} {
		g.invalid(g.send("POST", "/tokens", body(ref)), "/s3_pitch_url: must name an object of this storage, or a file below REFERENCE_PREFIXES")
	}
}
