package httpserver

import (
	"slices"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sori.internal/services/gateway/internal/forwarded"
)

func TestThePublicBaseHasTheSchemeAndTheHostOnlyIfAProxyNamesTheHost(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]publicURL{
		"":                      {},
		"/api":                  {prefix: "/api"},
		"/x":                    {prefix: "/x", forwarded: forwarded.Request{Scheme: "https"}},
		"http://sori.test":      {forwarded: forwarded.Request{Host: "sori.test"}},
		"https://sori.test/api": {prefix: "/api", forwarded: forwarded.Request{Scheme: "https", Host: "sori.test"}},
	} {
		if got := p.base(); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
}

func TestLinksOfAnAnswerArePublicAndOthersStay(t *testing.T) {
	t.Parallel()
	const base = "https://sori.test/api"
	for _, c := range []struct{ name, given, want string }{
		{fiber.HeaderLocation, "/jobs/1", base + "/jobs/1"},
		{fiber.HeaderLocation, "//elsewhere.test/jobs/1", "//elsewhere.test/jobs/1"},
		{fiber.HeaderLocation, "https://s3.test/b/k?X-Amz-Signature=1", "https://s3.test/b/k?X-Amz-Signature=1"},
		{fiber.HeaderLocation, "", ""},
		{fiber.HeaderLink, `</tokens?skip=0>; rel="first"`, `<` + base + `/tokens?skip=0>; rel="first"`},
		{fiber.HeaderLink, `</a>; rel="prev", </b>; rel="next"`, `<` + base + `/a>; rel="prev", <` + base + `/b>; rel="next"`},
	} {
		var h fasthttp.ResponseHeader
		if c.given != "" {
			h.Set(c.name, c.given)
		}
		rewriteLinks(&h, base)
		if got := string(h.Peek(c.name)); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.name, c.given, got, c.want)
		}
	}
	var h fasthttp.ResponseHeader
	h.Add(fiber.HeaderLink, "</a>")
	h.Add(fiber.HeaderLink, "</b>")
	rewriteLinks(&h, base)
	var lines []string
	for _, line := range h.PeekAll(fiber.HeaderLink) {
		lines = append(lines, string(line))
	}
	if !slices.Equal(lines, []string{"<" + base + "/a>", "<" + base + "/b>"}) {
		t.Errorf("two lines became %q", lines)
	}
}
