package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sori.internal/services/gateway/internal/forwarded"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
)

// edge handles every request before it is routed and every answer before it is
// sent. It stands around Fiber, since Fiber sees neither what fasthttp answers by
// itself nor an answer after its handlers.
type edge struct {
	app     *fiber.App
	proxies forwarded.Proxies
	base    string // the path under which all routes are; empty is the root
	origins crossOrigin
	routes  []fiber.Route
}

// public is how the client reaches the gateway.
type public struct {
	asked   forwarded.Request
	prefix  string // of every path
	outside bool   // the request's path is not under the base path
}

// publicKey finds it among the values of a request.
type publicKey struct{}

func publicOf(c *fasthttp.RequestCtx) public {
	p, _ := c.UserValue(publicKey{}).(public)
	return p
}

// url returns what stands before a path in a link: a prefix, and scheme and host
// where a trusted proxy says under which host the client reaches it. Otherwise the
// client's own URL, against which it resolves the path, has the right ones.
func (p public) url() string {
	switch {
	case p.asked.Host == "":
		return p.prefix
	case p.asked.Scheme == "":
		return "http://" + p.asked.Host + p.prefix
	default:
		return p.asked.Scheme + "://" + p.asked.Host + p.prefix
	}
}

// surround puts the edge around the handlers of an application whose routes are
// all there.
func (e *edge) surround(server *fasthttp.Server) {
	e.routes = e.app.GetRoutes(true)
	route, broken := server.Handler, server.ErrorHandler
	server.Handler = func(c *fasthttp.RequestCtx) {
		e.arrive(c)
		if knownMethod(c) {
			route(c)
		} else { // Fiber would answer it by itself, in plain text
			own := e.app.AcquireCtx(c)
			_ = e.app.ErrorHandler(own, e.unrouted(own)) // never fails
			e.app.ReleaseCtx(own)
		}
		e.leave(c)
	}
	server.ErrorHandler = func(c *fasthttp.RequestCtx, err error) {
		broken(c, err)
		e.origins.mark(c)
	}
}

func knownMethod(c *fasthttp.RequestCtx) bool {
	return slices.Contains(fiber.DefaultMethods, string(c.Method()))
}

// arrive notes how the client reaches the gateway, and cuts the base path off.
func (e *edge) arrive(c *fasthttp.RequestCtx) {
	p := public{asked: e.asked(c)}
	p.prefix = p.asked.Prefix + e.base
	if e.base != "" {
		path := string(c.URI().PathOriginal())
		rest, inside := strings.CutPrefix(path, e.base)
		switch {
		case inside && rest == "":
			c.URI().SetPath("/")
		case inside && rest[0] == '/':
			c.URI().SetPath(rest)
		default:
			p.outside = !quiet(strings.TrimSuffix(path, "/"))
		}
	}
	c.SetUserValue(publicKey{}, p)
}

// asked reads what a trusted proxy says. What anybody else says is removed, so that
// no service behind the gateway takes it for the truth.
func (e *edge) asked(c *fasthttp.RequestCtx) forwarded.Request {
	h := &c.Request.Header
	asked := e.proxies.Read(c.RemoteAddr(), func(name string) []string {
		var lines []string
		for _, line := range h.PeekAll(name) {
			lines = append(lines, string(line))
		}
		return lines
	})
	for _, name := range []string{"Forwarded", "X-Real-Ip", "X-Forwarded-Prefix", "X-Forwarded-Port", "X-Forwarded-Server"} {
		h.Del(name)
	}
	if !e.proxies.Trust(c.RemoteAddr()) {
		h.Del(fiber.HeaderXForwardedFor)
	}
	setOrDelete(h, fiber.HeaderXForwardedProto, asked.Scheme)
	setOrDelete(h, fiber.HeaderXForwardedHost, asked.Host)
	return asked
}

func setOrDelete(h *fasthttp.RequestHeader, name, value string) {
	h.Del(name)
	if value != "" {
		h.Set(name, value)
	}
}

// guard is the first handler after the one that observes: preflights are answered
// before anything else is checked, and a page of another origin is refused before
// its body is read.
func (e *edge) guard(c *fiber.Ctx) error {
	p := publicOf(c.Context())
	if preflight(c.Context()) {
		c.Status(http.StatusNoContent)
		return nil
	}
	if err := e.origins.check(c.Context(), p); err != nil {
		return err
	}
	if p.outside {
		return httpd.NoRoute()
	}
	return c.Next()
}

// unrouted is the last handler: no route takes the request's method at its path.
func (e *edge) unrouted(c *fiber.Ctx) error {
	allowed := e.allowed(c)
	if allowed == "" {
		return httpd.NoRoute()
	}
	c.Set(fiber.HeaderAllow, allowed)
	if c.Method() == http.MethodOptions {
		c.Status(http.StatusNoContent)
		return nil
	}
	return fault.New(fault.NotFound, codeMethod, "This path does not take this method. The Allow header names those that it takes.")
}

// allowed lists the methods that the path of a request takes; empty where there is
// no such path.
func (e *edge) allowed(c *fiber.Ctx) string {
	if publicOf(c.Context()).outside {
		return ""
	}
	path := c.Path()
	whole := path == "*" // the target of OPTIONS for the whole server (RFC 9110, section 9.3.7)
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	var methods []string
	for _, r := range e.routes {
		if slices.Contains(methods, r.Method) {
			continue
		}
		if whole || fiber.RoutePatternMatch(path, r.Path, fiber.Config{CaseSensitive: true}) {
			methods = append(methods, r.Method)
		}
	}
	if len(methods) == 0 {
		return ""
	}
	methods = append(methods, http.MethodOptions)
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// leave completes an answer: links as the client sees them, the headers for pages
// of other origins, and a body that an HTTP/1.0 client can read.
func (e *edge) leave(c *fasthttp.RequestCtx) {
	if before := publicOf(c).url(); before != "" {
		rewriteLinks(&c.Response.Header, before)
	}
	e.origins.mark(c)
	endByClosing(c)
}

// rewriteLinks puts the public URL before every path in Location and Link. A
// Location on another host, such as a presigned URL, stays.
func rewriteLinks(h *fasthttp.ResponseHeader, before string) {
	if location := string(h.Peek(fiber.HeaderLocation)); strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//") {
		h.Set(fiber.HeaderLocation, before+location)
	}
	lines := h.PeekAll(fiber.HeaderLink)
	if len(lines) == 0 {
		return
	}
	rewritten := make([]string, len(lines))
	for i, line := range lines {
		rewritten[i] = strings.ReplaceAll(string(line), "</", "<"+before+"/") // a URL has no < itself
	}
	h.Del(fiber.HeaderLink)
	for _, line := range rewritten {
		h.Add(fiber.HeaderLink, line)
	}
}
