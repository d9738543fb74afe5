package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
)

// ask sends a GET with headers to a handler.
func ask(t *testing.T, target string, header http.Header, handler fiber.Handler) *http.Response {
	t.Helper()
	app := fiber.New()
	app.Get("/*", handler)
	r := httptest.NewRequest(http.MethodGet, target, http.NoBody)
	r.Header = header
	resp, err := app.Test(r, -1)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

func TestIfMatchAllowsTheVersionsOfItsStrongTags(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines []string
		want  catalogue.Match
	}{
		"absent":           {nil, nil},
		"a star":           {[]string{"*"}, nil},
		"one":              {[]string{`"3"`}, catalogue.Match{3}},
		"with a digest":    {[]string{`"3-0a1b"`}, catalogue.Match{3}},
		"several":          {[]string{`"3", "4-ff"`, `"5"`}, catalogue.Match{3, 4, 5}},
		"weak":             {[]string{`W/"3"`}, catalogue.Match{}},
		"foreign":          {[]string{`"abc"`}, catalogue.Match{}},
		"without quotes":   {[]string{`3`}, catalogue.Match{}},
		"half quoted":      {[]string{`"3`}, catalogue.Match{}},
		"empty":            {[]string{""}, catalogue.Match{}},
		"weak and strong":  {[]string{`W/"3", "4"`}, catalogue.Match{4}},
		"a star among tag": {[]string{`"3", *`}, nil},
	} {
		var got catalogue.Match
		ask(t, "/", http.Header{"If-Match": c.lines}, func(ctx *fiber.Ctx) error {
			got = ifMatch(ctx)
			return nil
		})
		if !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestAnEntryThatTheClientHasIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]int{
		"": 200, `"7-ab"`: 304, `W/"7-ab"`: 304, `"6", "7-ab"`: 304, "*": 304, `"7"`: 200, `"7-ac"`: 200, `7-ab`: 200,
	} {
		header := http.Header{}
		if given != "" {
			header.Set("If-None-Match", given)
		}
		resp := ask(t, "/", header, func(c *fiber.Ctx) error {
			return sendConditional(c, representation{etag: entityTag(7, "ab"), body: 1})
		})
		if resp.StatusCode != want || resp.Header.Get("ETag") != `"7-ab"` {
			t.Errorf("%s: %d with %s", given, resp.StatusCode, resp.Header.Get("ETag"))
		}
	}
}

func TestAPageLinksToThePagesAroundItAndKeepsItsFilters(t *testing.T) {
	t.Parallel()
	for target, c := range map[string]struct {
		entries int // number of entries in the whole list
		want    []string
		shown   int
	}{
		"/tokens":                    {3, []string{"first 0"}, 3},
		"/tokens?limit=2":            {2, []string{"first 0"}, 2},
		"/tokens?limit=2&search=a+b": {3, []string{"first 0", "next 2"}, 2},
		"/tokens?limit=2&skip=2":     {5, []string{"first 0", "prev 0", "next 4"}, 2},
		"/tokens?limit=3&skip=1":     {9, []string{"first 0", "prev 0", "next 4"}, 3},
		"/tokens?limit=2&skip=100":   {5, []string{"first 0", "prev 98"}, 0},
	} {
		shown := 0
		resp := ask(t, target, http.Header{}, func(ctx *fiber.Ctx) error {
			return list(newParams(ctx), func(_ context.Context, p catalogue.Page) (catalogue.List[int], error) {
				all := make([]int, c.entries)
				from := min(int(p.Skip), len(all))
				to := min(from+int(p.Limit), len(all))
				return catalogue.List[int]{Entries: all[from:to], More: to < len(all)}, nil
			}, func(int) string { shown++; return "" })
		})
		var got []string
		for link := range strings.SplitSeq(resp.Header.Get("Link"), ", ") {
			address, rel, _ := strings.Cut(link, `>; rel="`)
			r := httptest.NewRequest(http.MethodGet, strings.TrimPrefix(address, "<"), http.NoBody)
			got = append(got, strings.TrimSuffix(rel, `"`)+" "+r.URL.Query().Get("skip"))
			if strings.Contains(target, "search") && r.URL.Query().Get("search") != "a b" {
				t.Errorf("%s: %s has lost the filter", target, link)
			}
		}
		if !slices.Equal(got, c.want) || shown != c.shown {
			t.Errorf("%s: %d entries with %v, want %d with %v", target, shown, got, c.shown, c.want)
		}
	}
}

func TestAPageOutsideItsBoundsIsRefused(t *testing.T) {
	t.Parallel()
	for _, parameters := range []string{"limit=0", "limit=501", "limit=-1", "limit=a", "skip=-1", "skip=a", "skip=9007199254740993"} {
		var refused error
		ask(t, "/tokens?"+parameters, http.Header{}, func(ctx *fiber.Ctx) error {
			refused = list(newParams(ctx), func(context.Context, catalogue.Page) (catalogue.List[int], error) {
				t.Errorf("%s: the list was read", parameters)
				return catalogue.List[int]{}, nil
			}, func(int) int { return 0 })
			return nil
		})
		if refused == nil {
			t.Errorf("%s is accepted", parameters)
		}
	}
}
