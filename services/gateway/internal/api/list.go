package api

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/query"
)

// defaultLimit is the length of a page if the request has no limit.
const defaultLimit = 100

// params reads the parameters of a request for a list and collects their violations.
type params struct {
	query.Params

	c *fiber.Ctx
}

func newParams(c *fiber.Ctx) *params {
	return &params{c: c, Params: query.Params{Get: func(name string) string { return c.Query(name) }}}
}

func (p *params) page() catalogue.Page {
	return catalogue.Page{
		Skip:  p.Integer("skip", 0, 0, 1<<53),
		Limit: p.Integer("limit", defaultLimit, 1, catalogue.MaxPage),
	}
}

// name reads a name from the query and normalizes it as stored names are normalized.
func (p *params) name(name string) string { return p.normalized(name, p.Get(name)) }

// excludesEntries reports whether the query has expand=none: then the entries of the list do not
// contain other entries, such as the scripts of tokens. The parameter contained is the only other
// valid value of expand, and the default.
func (p *params) excludesEntries(contained string) bool {
	expand := p.Get("expand")
	if expand != "" && expand != contained && expand != "none" {
		p.Refuse("expand", fmt.Sprintf("must be %q or %q", contained, "none"))
	}
	return expand == "none"
}

// pathName reads a name from the path.
func (p *params) pathName(name string) string {
	text, err := url.PathUnescape(p.c.Params(name))
	if err != nil {
		p.Refuse(name, "must be percent-encoded text")
		return ""
	}
	return p.normalized(name, text)
}

func (p *params) normalized(name, text string) string {
	text = catalogue.NormalizeName(text)
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		p.Refuse(name, "must be text in UTF-8 without control characters")
	}
	return text
}

// list answers with a page and with links to the pages around it. A page may end before its limit
// (see catalogue.MaxText): the next page starts where this page ends.
func list[T, B any](params *params, find func(context.Context, catalogue.Page) (catalogue.List[T], error), bodyOf func(T) B) error {
	page := params.page()
	if err := params.Err(); err != nil {
		return err
	}
	found, err := find(params.c.UserContext(), page)
	if err != nil {
		return err
	}
	bodies := make([]B, len(found.Entries))
	for i, entry := range found.Entries {
		bodies[i] = bodyOf(entry)
	}
	var next int64
	if found.More {
		next = page.Skip + int64(len(bodies))
	}
	params.c.Set(fiber.HeaderLink, pageLinks(params.c, page, next))
	return params.c.JSON(bodies)
}

// pageLinks returns the links to the pages around a page (RFC 8288). The links keep the filters of
// the page. next is the number of entries before the next page; 0 means that there is no next page.
func pageLinks(c *fiber.Ctx, page catalogue.Page, next int64) string {
	path, _ := url.PathUnescape(c.Path()) // only valid paths are routed here
	escaped := (&url.URL{Path: path, RawPath: c.Path()}).EscapedPath()
	values := url.Values{}
	for name, value := range c.Queries() {
		values.Set(name, value)
	}
	link := func(rel string, skip int64) string {
		values.Set("skip", strconv.FormatInt(skip, 10))
		values.Set("limit", strconv.FormatInt(page.Limit, 10))
		return query.Link(escaped, values, rel)
	}
	links := []string{link("first", 0)}
	if page.Skip > 0 {
		links = append(links, link("prev", max(0, page.Skip-page.Limit)))
	}
	if next > 0 {
		links = append(links, link("next", next))
	}
	return strings.Join(links, ", ")
}
