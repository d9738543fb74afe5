package httpserver

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"sori.internal/services/gateway/internal/audit"
	"sori.internal/services/gateway/internal/forwarded"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/logging"
	"sori.internal/shared/metrics"
	"sori.internal/shared/trace"
)

// edge processes every request before it is routed and every answer before it is sent. It wraps
// Fiber's handler instead of being a Fiber middleware: a middleware sees neither the answers that
// fasthttp sends by itself, nor the answers after all handlers have run.
type edge struct {
	app     *fiber.App
	router  *Router
	proxies forwarded.Proxies
	base    string // the path under which all routes are; empty is the root
	hosts   hostRule
	cors    cors
	limits  Limits
	routes  []fiber.Route
}

// wrap wraps the handlers of a server. All routes must have been registered before.
func (e *edge) wrap(server *fasthttp.Server) {
	e.routes = e.app.GetRoutes(true)
	handle, handleError := server.Handler, server.ErrorHandler
	server.Handler = func(c *fasthttp.RequestCtx) {
		e.prepareRequest(c)
		if knownMethod(c) {
			handle(c)
		} else { // Fiber would answer an unknown method in plain text
			own := e.app.AcquireCtx(c)
			_ = e.app.ErrorHandler(own, e.notFound(own)) // never fails
			e.app.ReleaseCtx(own)
		}
		e.finishResponse(c)
	}
	server.ErrorHandler = func(c *fasthttp.RequestCtx, err error) {
		handleError(c, err)
		e.cors.setHeaders(c)
	}
}

func knownMethod(c *fasthttp.RequestCtx) bool {
	return slices.Contains(fiber.DefaultMethods, string(c.Method()))
}

// prepareRequest stores the public URL of a request among its user values, and removes the base
// path from its path.
func (e *edge) prepareRequest(c *fasthttp.RequestCtx) {
	c.SetUserValue(clientKey{}, e.client(c))
	p := publicURL{forwarded: e.forwardedHeaders(c)}
	p.prefix = p.forwarded.Prefix + e.base
	if e.base != "" {
		path := string(c.URI().PathOriginal())
		if rest, inside := cutBase(path, e.base); inside {
			c.URI().SetPath(rest)
		} else {
			p.outside = !isProbe(strings.TrimSuffix(path, "/"))
		}
	}
	c.SetUserValue(publicURLKey{}, p)
}

// cutBase removes the base path from a path, and reports whether the path is under it.
func cutBase(path, base string) (rest string, inside bool) {
	rest, inside = strings.CutPrefix(path, base)
	switch {
	case inside && rest == "":
		return "/", true
	case inside && rest[0] == '/':
		return rest, true
	default:
		return path, false
	}
}

// forwardedHeaders reads the X-Forwarded headers of a trusted proxy. The headers of any other peer
// are removed, so that no service behind the gateway trusts them.
func (e *edge) forwardedHeaders(c *fasthttp.RequestCtx) forwarded.Request {
	h := &c.Request.Header
	f := e.proxies.Read(c.RemoteAddr(), func(name string) []string {
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
	setOrDelete(h, fiber.HeaderXForwardedProto, f.Scheme)
	setOrDelete(h, fiber.HeaderXForwardedHost, f.Host)
	return f
}

func setOrDelete(h *fasthttp.RequestHeader, name, value string) {
	h.Del(name)
	if value != "" {
		h.Set(name, value)
	}
}

// WebhookPath is the path of callbacks. Their URLs are signed.
const WebhookPath = "/tokens/webhook/analysis-complete"

// forMachines reports whether a request is a probe or a callback. Orchestrators request probes by
// address. An analysis server may reach the gateway by a name of its own network, and sends the
// outcome of an analysis perhaps only once, so that no limit may refuse it.
func forMachines(c *fiber.Ctx) bool {
	path := strings.TrimSuffix(c.Path(), "/")
	return isProbe(path) || path == WebhookPath && c.Method() == http.MethodPost
}

// guard is the first handler after the request log. It refuses requests for another host, counts
// the requests of each address, answers preflights before any further check, and refuses requests of
// pages of unlisted origins before the body is read.
func (e *edge) guard(c *fiber.Ctx) error {
	p := publicURLOf(c.Context())
	if !forMachines(c) {
		if err := e.hosts.check(c.Context(), p); err != nil {
			return err
		}
		if err := e.limits.takeAddress(c); err != nil {
			return err
		}
	}
	if isPreflight(c.Context()) {
		c.Status(http.StatusNoContent)
		return nil
	}
	if err := e.cors.check(c.Context(), p); err != nil && e.changes(c) {
		return err
	}
	if p.outside || !isClean(c.Path()) {
		return httpd.NoRoute()
	}
	return c.Next()
}

// changes reports whether a request may change something.
func (e *edge) changes(c *fiber.Ctx) bool {
	route, _ := e.router.find(c.Method(), c.Path())
	return route.changes || !isSafe(c.Method())
}

// isClean reports whether a path has no empty segment and no dot segment. One slash at the end is
// allowed. The services behind the gateway redirect any other path, or match it to another route
// than the gateway does, whose scope was then not checked.
func isClean(path string) bool {
	inner := strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if inner == "" {
		return len(path) <= len("/")
	}
	for segment := range strings.SplitSeq(inner, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// notFound is the last handler. It runs if no route has the path and the method of the request.
func (e *edge) notFound(c *fiber.Ctx) error {
	allowed := e.allowed(c)
	if allowed == "" {
		return httpd.NoRoute()
	}
	c.Set(fiber.HeaderAllow, allowed)
	if c.Method() == http.MethodOptions {
		c.Status(http.StatusNoContent)
		return nil
	}
	return fault.WrongMethod()
}

// allowed returns the value of the Allow header for the path of a request; empty if no route has
// the path.
func (e *edge) allowed(c *fiber.Ctx) string {
	if publicURLOf(c.Context()).outside {
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
	if !slices.Contains(methods, http.MethodOptions) {
		methods = append(methods, http.MethodOptions)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// finishResponse completes an answer. It turns paths in links into public URLs, sets the CORS
// headers, and adapts a streamed body to an HTTP/1.0 client.
func (e *edge) finishResponse(c *fasthttp.RequestCtx) {
	if base := publicURLOf(c).base(); base != "" {
		rewriteLinks(&c.Response.Header, base)
	}
	e.cors.setHeaders(c)
	closeDelimited(c)
}

// rewriteLinks puts the public base URL before every path in Location and Link. A Location on
// another host, such as a presigned URL, is not changed.
func rewriteLinks(h *fasthttp.ResponseHeader, base string) {
	if location := string(h.Peek(fiber.HeaderLocation)); strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//") {
		h.Set(fiber.HeaderLocation, base+location)
	}
	lines := h.PeekAll(fiber.HeaderLink)
	if len(lines) == 0 {
		return
	}
	rewritten := make([]string, len(lines))
	for i, line := range lines {
		rewritten[i] = strings.ReplaceAll(string(line), "</", "<"+base+"/") // a URL contains no <
	}
	h.Del(fiber.HeaderLink)
	for _, line := range rewritten {
		h.Add(fiber.HeaderLink, line)
	}
}

// unrouted is the value of the label route in metrics for requests that no route matches.
const unrouted = "unrouted"

// requestLog logs and counts every request, and records those that belong in the audit log.
type requestLog struct {
	log     zerolog.Logger
	metrics *metrics.Requests
	audit   func(audit.Entry)
}

// unreadable answers a request that could not be parsed and so did not reach a handler.
func (r *requestLog) unreadable(c *fiber.Ctx, err error) error {
	id := httpd.RequestID(c.Get(httpd.RequestIDHeader))
	log := r.log.With().Str(logging.RequestID, id).Logger()
	c.Set(httpd.RequestIDHeader, id)
	fail(c, &log, id, fromFiber(err))
	r.metrics.Observe(unrouted, "any", c.Response().StatusCode(), 0)
	return nil
}

// handle runs the handlers of a request. It adds an id, a trace, a logger and a context, which is
// derived from work, to the request. It answers errors and panics. After the answer is sent, it
// logs and counts the request.
func (r *requestLog) handle(work context.Context, c *fiber.Ctx) {
	start := time.Now()
	id := httpd.RequestID(c.Get(httpd.RequestIDHeader))
	ctx := trace.Continue(work, c.Get(trace.Header))
	log := r.log.With().Str(logging.RequestID, id).Str(logging.Trace, trace.ID(ctx)).Logger()
	ctx = log.WithContext(ctx)
	c.SetUserContext(ctx)
	c.Request().Header.Set(httpd.RequestIDHeader, id)
	c.Set(httpd.RequestIDHeader, id)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer") // a URL may contain a ticket
	if err := next(c, &log); err != nil {
		if fault.Stopped(ctx, err) {
			err = Stopping(err)
		}
		fail(c, zerolog.Ctx(ctx), id, fromFiber(err))
	}
	// The following values are read now: if the response is a stream, done is called when the
	// stream is closed, and c may then belong to another request.
	route, method, path, status := routeOf(c), c.Method(), c.Path(), c.Response().StatusCode()
	if entry, ok := audited(c, route, id); ok {
		r.audit(entry)
	}
	done := func(written int64) {
		took := time.Since(start)
		r.metrics.Observe(method+" "+route, method, status, took)
		level := zerolog.InfoLevel
		if isProbe(route) {
			level = zerolog.DebugLevel
		}
		zerolog.Ctx(ctx).WithLevel(level).Str(logging.Method, method).Str(logging.Path, logging.SafePath(path)).Int(logging.Status, status).
			Int64(logging.Bytes, written).Float64(logging.Took, logging.Millis(took)).Msg("request answered")
	}
	if s, ok := c.Response().BodyStream().(*stream); ok {
		s.onClose = done
		return
	}
	done(int64(len(c.Response().Body())))
}

// routeOf returns the pattern of the route that matched a request.
func routeOf(c *fiber.Ctx) string {
	route, method := c.Route().Path, c.Method()
	if route == "/" && (c.Response().StatusCode() == http.StatusNotFound || method != http.MethodGet && method != http.MethodHead) {
		return unrouted // Fiber reports / for middleware too; the route / itself has only GET and HEAD, and never answers 404
	}
	return route
}

// next runs the handlers and turns a panic into an error.
func next(c *fiber.Ctx, log *zerolog.Logger) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("handler panicked")
			err = errors.New("the handler panicked")
		}
	}()
	return c.Next()
}
