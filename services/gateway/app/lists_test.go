package app_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// links returns the targets of the links of a reply, by their relations.
func (r reply) links(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`<([^>]*)>; rel="([a-z]+)"`).FindAllStringSubmatch(r.Header.Get("Link"), -1) {
		if u, err := url.Parse(m[1]); err != nil || u.Host != "" || !strings.HasPrefix(m[1], "/") {
			t.Fatalf("%s is no path", m[1])
		}
		found[m[2]] = m[1]
	}
	return found
}

func TestEveryListIsPaged(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	const all = 230
	g.add("/actors", `{"name":"하나"}`)
	for i := range all {
		g.create(fmt.Sprintf(`{"token_name":"%d","actor_name":"하나","category":"a&b/c","start_time":0,"end_time":1}`, i))
		g.add("/scripts", fmt.Sprintf(`{"token_id":%d,"start_time":0,"end_time":1,"script":"a"}`, g.token))
		g.add("/actors", fmt.Sprintf(`{"name":"가/나<%d>"}`, i))
	}
	for path, want := range map[string]int{
		"/tokens?category=a%26b%2Fc&limit=50":               all,
		"/tokens/?limit=50&q=":                              all + 1,
		"/scripts?limit=50":                                 all,
		fmt.Sprintf("/scripts/token/%d/?limit=50", g.token): all,
		"/actors?limit=50":                                  all + 1,
		"/actors/search/%EA%B0%80%2F%EB%82%98%3C?limit=50":  all,
		"/actors/1/tokens?limit=50":                         all + 1,
		"/actors":                                           all + 1,
	} {
		seen, last, first := map[string]bool{}, "", ""
		for next := path; next != ""; {
			r := g.get(next)
			links := r.links(t)
			var page []struct{ ID int64 }
			r.decode(t, &page)
			for _, entry := range page {
				seen[fmt.Sprint(entry.ID)] = true
			}
			last, first, next = next, links["first"], links["next"]
			if (links["prev"] == "") != (last == path) {
				t.Errorf("%s: before it is %q", last, links["prev"])
			}
		}
		if len(seen) != want {
			t.Errorf("%s: %d entries of %d were seen", path, len(seen), want)
		}
		for at := last; at != ""; at = g.get(at).links(t)["prev"] {
			last = at
		}
		if last != first || g.ids(first) != g.ids(path) {
			t.Errorf("%s: back at %s, which is not %s", path, last, first)
		}
	}
}

func TestALinkLeadsOnlyToPagesThatExist(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for i := range 4 {
		g.add("/actors", fmt.Sprintf(`{"name":"%d"}`, i))
	}
	for path, want := range map[string]string{
		"/actors":                `</actors?limit=100&skip=0>; rel="first"`,
		"/actors?limit=4":        `</actors?limit=4&skip=0>; rel="first"`,
		"/actors?limit=3":        `</actors?limit=3&skip=0>; rel="first", </actors?limit=3&skip=3>; rel="next"`,
		"/actors?limit=3&skip=2": `</actors?limit=3&skip=0>; rel="first", </actors?limit=3&skip=0>; rel="prev"`,
		"/actors?limit=1&skip=9": `</actors?limit=1&skip=0>; rel="first", </actors?limit=1&skip=8>; rel="prev"`,
		"/tokens/?q=%3E%3B&x=%0d%0aSet-Cookie:%20a=b": `</tokens/?limit=100&q=%3E%3B&skip=0&x=%0D%0ASet-Cookie%3A+a%3Db>; rel="first"`,
	} {
		if got := g.get(path).Header.Get("Link"); got != want {
			t.Errorf("%s: %s\nwant %s", path, got, want)
		}
	}
	for _, path := range []string{"/tokens", "/scripts", fmt.Sprintf("/scripts/token/%d", g.token), "/actors", "/actors/search/a", "/actors/1/tokens"} {
		g.invalid(g.ask(path+"?skip=-1&limit=501"), "skip: must be an integer from 0 to 9007199254740992", "limit: must be an integer from 1 to 500")
	}
}
