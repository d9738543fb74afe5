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
	"sori.internal/shared/fault"
)

// usualPage is the length of a page where none is asked for.
const usualPage = 100

// query reads the parameters of a list and collects the rules that they break.
type query struct {
	c          *fiber.Ctx
	violations []fault.Violation
}

func (q *query) broken(name, detail string) {
	q.violations = append(q.violations, fault.Violation{Pointer: name, Detail: detail})
}

func (q *query) err() error {
	if len(q.violations) == 0 {
		return nil
	}
	return catalogue.Invalid(q.violations...)
}

func (q *query) page() catalogue.Page {
	return catalogue.Page{Skip: q.number("skip", 0, 0, 1<<53), Limit: q.number("limit", usualPage, 1, catalogue.MaxPage)}
}

func (q *query) number(name string, absent, least, most int64) int64 {
	text := q.c.Query(name)
	if text == "" {
		return absent
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		q.broken(name, fmt.Sprintf("must be an integer from %d to %d", least, most))
	}
	return n
}

// name reads a name to look for, in the form in which names are stored.
func (q *query) name(name string) string { return q.clean(name, q.c.Query(name)) }

// segment reads such a name out of the path.
func (q *query) segment(name string) string {
	text, err := url.PathUnescape(q.c.Params(name))
	if err != nil {
		q.broken(name, "must be percent-encoded text")
		return ""
	}
	return q.clean(name, text)
}

func (q *query) clean(name, text string) string {
	text = catalogue.Clean(text)
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		q.broken(name, "must be text in UTF-8 without control characters")
	}
	return text
}

// list answers with a page and links to its neighbours. One entry more than the
// page has is looked for, to know whether there is a next one.
func list[T, B any](q *query, p catalogue.Page, find func(context.Context, catalogue.Page) ([]T, error), show func(T) B) error {
	if err := q.err(); err != nil {
		return err
	}
	found, err := find(q.c.UserContext(), catalogue.Page{Skip: p.Skip, Limit: p.Limit + 1})
	if err != nil {
		return err
	}
	more := int64(len(found)) > p.Limit
	if more {
		found = found[:p.Limit]
	}
	bodies := make([]B, len(found))
	for i, entry := range found {
		bodies[i] = show(entry)
	}
	q.c.Set(fiber.HeaderLink, links(q.c, p, more))
	return q.c.JSON(bodies)
}

// links are the pages around a page (RFC 8288), with the filters of this one.
func links(c *fiber.Ctx, p catalogue.Page, more bool) string {
	path, _ := url.PathUnescape(c.Path()) // no other path comes here
	params := url.Values{}
	for name, value := range c.Queries() {
		params.Set(name, value)
	}
	to := func(rel string, skip int64) string {
		params.Set("skip", strconv.FormatInt(skip, 10))
		params.Set("limit", strconv.FormatInt(p.Limit, 10))
		u := url.URL{Path: path, RawPath: c.Path(), RawQuery: params.Encode()}
		return fmt.Sprintf(`<%s>; rel="%s"`, u.RequestURI(), rel)
	}
	all := []string{to("first", 0)}
	if p.Skip > 0 {
		all = append(all, to("prev", max(0, p.Skip-p.Limit)))
	}
	if more {
		all = append(all, to("next", p.Skip+p.Limit))
	}
	return strings.Join(all, ", ")
}
