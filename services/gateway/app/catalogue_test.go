package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// ids returns the ids of the entries of a list, in its order.
func (g *env) ids(path string) string {
	g.t.Helper()
	var list []struct{ ID int64 }
	g.get(path).decode(g.t, &list)
	ids := make([]string, len(list))
	for i, entry := range list {
		ids[i] = fmt.Sprint(entry.ID)
	}
	return strings.Join(ids, " ")
}

// kind is a kind of entry, with two valid bodies.
type kind struct{ name, list, body, other string }

// kinds returns all kinds of entries.
func (g *env) kinds() []kind {
	return []kind{
		{
			"token", "/tokens", `{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`,
			`{"token_name":"c","actor_name":"d","start_time":0,"end_time":2}`,
		},
		{
			"script", "/scripts", fmt.Sprintf(`{"token_id":%d,"start_time":0,"end_time":1,"script":"a"}`, g.token),
			fmt.Sprintf(`{"token_id":%d,"start_time":1,"end_time":2,"script":"b"}`, g.token),
		},
		{"actor", "/actors", `{"name":"a"}`, `{"name":"b"}`},
	}
}

func TestAnUnknownEntryIsAnsweredWith404(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, k := range g.kinds() {
		for _, slash := range []string{"", "/"} {
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				g.problem(g.send(method, k.list+"/999"+slash, k.body), 404, k.name+"-not-found")
				for _, id := range []string{"x", "0", "-1", "1.5", "99999999999999999999", "%31"} {
					g.invalid(g.send(method, k.list+"/"+id+slash, "{}"), "id: must be a positive integer")
				}
			}
		}
	}
	g.problem(g.ask("/scripts/token/999"), 404, "token-not-found")
	g.problem(g.ask("/actors/999/tokens/"), 404, "actor-not-found")
	g.invalid(g.ask("/scripts/token/x"), "token_id: must be a positive integer")
	g.invalid(g.ask("/actors/x/tokens"), "id: must be a positive integer")
}

func TestABodyThatIsNotJSONIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, k := range g.kinds() {
		path := g.add(k.list, k.body)
		for _, to := range [][2]string{{"POST", k.list}, {"PUT", path}} {
			for _, mediaType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ";", "application/jsonx"} {
				r := g.do(to[0], to[1], strings.NewReader(k.body), map[string]string{"Content-Type": mediaType})
				g.problem(r, http.StatusUnsupportedMediaType, "not-json")
			}
			g.problem(g.send(to[0], to[1], `{"name":`), 400, "malformed-json")
			m := g.problem(g.send(to[0], to[1], `{"name":"`+strings.Repeat("x", 1<<20)+`"}`), 413, "too-large")
			if m["max_bytes"] != float64(1<<20) {
				t.Errorf("max_bytes is %v", m["max_bytes"])
			}
		}
		for _, mediaType := range []string{"application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"} {
			r := g.do("PUT", path, strings.NewReader(k.other), map[string]string{"Content-Type": mediaType})
			if r.StatusCode != http.StatusOK {
				t.Errorf("%q: %s: %s", mediaType, r.Status, r.text)
			}
		}
	}
}

func TestAnEntityTagNamesOneVersion(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, k := range g.kinds() {
		made := g.send("POST", k.list, k.body)
		path, tag := made.Header.Get("Location"), made.Header.Get("ETag")
		read := g.get(path)
		if read.Header.Get("ETag") != tag || tag == "" || read.Header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%s: made as %s, read as %s", k.name, tag, read.Header.Get("ETag"))
		}
		for _, known := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			r := g.do("GET", path, nil, map[string]string{"If-None-Match": known})
			if r.StatusCode != http.StatusNotModified || len(r.text) != 0 || r.Header.Get("ETag") != tag {
				t.Errorf("%s known as %s: %s %s", k.name, known, r.Status, r.text)
			}
		}
		put := g.send("PUT", path, k.other)
		if got := put.Header.Get("ETag"); got == tag || got != g.get(path).Header.Get("ETag") {
			t.Errorf("%s: changed it is still %s, or not what is read", k.name, got)
		}
		if r := g.do("GET", path, nil, map[string]string{"If-None-Match": tag}); r.StatusCode != http.StatusOK {
			t.Errorf("%s after a change: %s", k.name, r.Status)
		}
	}
}

func TestAChangeAppliesOnlyToTheVersionsOfIfMatch(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, k := range g.kinds() {
		path := g.add(k.list, k.body)
		old := g.get(path).Header.Get("ETag")
		now := g.send("PUT", path, k.other).Header.Get("ETag")
		before := string(g.get(path).text)
		with := func(method, ifMatch string) reply {
			return g.do(method, path, strings.NewReader(k.body), map[string]string{"If-Match": ifMatch})
		}
		for _, method := range []string{"PUT", "DELETE"} {
			for _, meant := range []string{old, "W/" + now, strings.Trim(now, `"`), `"x"`, `""`, "", `"-1"`, old + `, "77"`} {
				g.problem(with(method, meant), http.StatusPreconditionFailed, "precondition-failed")
			}
		}
		if after := string(g.get(path).text); after != before {
			t.Errorf("%s: refused changes made %s of %s", k.name, after, before)
		}
		for _, meant := range []string{old + ", " + now, "*"} {
			if r := with("PUT", meant); r.StatusCode != http.StatusOK {
				t.Errorf("%s, meant for %s: %s: %s", k.name, meant, r.Status, r.text)
			}
		}
		if r := with("DELETE", g.get(path).Header.Get("ETag")); r.StatusCode != http.StatusOK {
			t.Errorf("delete %s: %s: %s", k.name, r.Status, r.text)
		}
		g.problem(with("PUT", now), 404, k.name+"-not-found")
		g.problem(with("DELETE", "*"), 404, k.name+"-not-found")
	}
}

func TestOneOfManyConcurrentChangesWins(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, k := range g.kinds() {
		path := g.add(k.list, k.body)
		for range 5 {
			tag := g.get(path).Header.Get("ETag")
			answers := g.atOnce(8, "PUT", path, k.other, map[string]string{"If-Match": tag})
			g.oneSucceeds(answers, http.StatusOK, http.StatusPreconditionFailed, "precondition-failed")
		}
	}
}
