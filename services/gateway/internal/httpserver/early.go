package httpserver

import (
	"context"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sori.internal/shared/principal"
)

// Early tries to find the response to a request without reading its body, while the client waits
// for 100 (Continue) before it sends the body (RFC 9110, section 10.1.1). ctx has the principal of
// the request. lines returns the lines of a header. Early returns a text for the handler
// (EarlyAnswer), or the empty string if the body is needed.
type Early func(ctx context.Context, path string, lines func(name string) []string) string

// earlyHeader carries the result of an Early from headerReceived to the handler. A client cannot set
// it.
const earlyHeader = "X-Sori-Early"

// EarlyAnswer returns the result of the route's Early. If it is not empty, the body of the request
// was not read. It is empty if Early was not called, or needs the body.
func EarlyAnswer(c *fiber.Ctx) string { return c.Get(earlyHeader) }

// The limits of Early, which runs before the limits of the client are checked. While
// earlyConcurrency calls run, other requests are handled without Early: their bodies are read.
const (
	earlyConcurrency = 32
	earlyTimeout     = 2 * time.Second
)

// PostEarly registers a route for POST with an Early.
func (r *Router) PostEarly(path string, needs principal.Scope, early Early, h fiber.Handler) {
	r.add(Route{Method: http.MethodPost, Path: path, Needs: needs, early: early}, h)
}

// early returns the result of the Early of a request's route, or the empty string.
func (r *Router) early(ctx context.Context, h *fasthttp.RequestHeader, base string) string {
	if string(h.Peek(fiber.HeaderExpect)) != "100-continue" {
		return ""
	}
	path := pathOf(h, base)
	route, ok := r.find(string(h.Method()), path)
	if !ok || route.early == nil {
		return ""
	}
	select {
	case r.earlySlots <- struct{}{}:
		defer func() { <-r.earlySlots }()
	default:
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, earlyTimeout)
	defer cancel()
	p, err := r.decide(ctx, credentialsOf(h), route.Needs)
	if err != nil {
		return ""
	}
	return route.early(principal.With(ctx, p), path, func(name string) []string { return lines(h, name) })
}
