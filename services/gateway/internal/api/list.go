package api

import (
	"context"
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

// params reads the parameters of a list.
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

// name reads a name from the query, in the form in which names are stored.
func (p *params) name(name string) string { return p.normalized(name, p.Get(name)) }

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

// list answers with a page and with links to the pages around it. It reads one entry more than the
// page has, to find out whether there is a next page.
func list[T, B any](params *params, find func(context.Context, catalogue.Page) ([]T, error), bodyOf func(T) B) error {
	page := params.page()
	if err := params.Err(); err != nil {
		return err
	}
	found, err := find(params.c.UserContext(), catalogue.Page{Skip: page.Skip, Limit: page.Limit + 1})
	if err != nil {
		return err
	}
	more := int64(len(found)) > page.Limit
	if more {
		found = found[:page.Limit]
	}
	bodies := make([]B, len(found))
	for i, entry := range found {
		bodies[i] = bodyOf(entry)
	}
	params.c.Set(fiber.HeaderLink, pageLinks(params.c, page, more))
	return params.c.JSON(bodies)
}

// pageLinks returns the links to the pages around a page (RFC 8288). They keep its filters.
func pageLinks(c *fiber.Ctx, page catalogue.Page, more bool) string {
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
	if more {
		links = append(links, link("next", page.Skip+page.Limit))
	}
	return strings.Join(links, ", ")
}
