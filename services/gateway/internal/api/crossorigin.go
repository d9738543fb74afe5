package api

import (
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sori.internal/shared/fault"
	"sori.internal/shared/origin"
)

// crossOrigin allows pages of listed origins to use the API (the CORS protocol of
// the Fetch standard), and refuses what pages of other origins would change.
//
// Fiber's own middleware does not serve here. It adds its headers before the
// handler runs, where an answer that is passed on replaces Vary and may bring
// such headers itself; it never sees what fasthttp answers; it has no pattern for
// ports; and it tells pages of unlisted origins which methods and headers they
// could use.
type crossOrigin struct {
	allowed origin.List
}

// preflightAge is how long a browser may keep the answer to a preflight, in
// seconds: Chromium's longest.
const preflightAge = "7200"

// The headers and methods of the API, and those of the protocols for resumable
// uploads (tus 1.0 and the IETF's draft).
const (
	crossMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	crossHeaders = "Accept, Accept-Language, Authorization, Baggage, Cache-Control, Content-Digest, Content-Language, Content-Type, " +
		"Idempotency-Key, If-Match, If-Modified-Since, If-None-Match, If-Range, Last-Event-ID, Pragma, Prefer, Range, Repr-Digest, " +
		"Traceparent, Tracestate, X-Request-Id, X-Requested-With, " +
		"Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, Upload-Defer-Length, Upload-Draft-Interop-Version, " +
		"Upload-Length, Upload-Metadata, Upload-Offset, X-HTTP-Method-Override"
	crossExposed = "Accept-Ranges, Allow, Content-Disposition, Content-Encoding, Content-Range, Date, ETag, Idempotency-Replayed, Link, Location, " +
		"Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, Traceparent, WWW-Authenticate, X-Request-Id, " +
		"Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Complete, Upload-Concat, " +
		"Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, Upload-Length, Upload-Limit, Upload-Metadata, Upload-Offset"
)

// preflight reports whether a request only asks what a page may send.
func preflight(c *fasthttp.RequestCtx) bool {
	return string(c.Method()) == http.MethodOptions &&
		len(c.Request.Header.Peek(fiber.HeaderOrigin)) > 0 && len(c.Request.Header.Peek(fiber.HeaderAccessControlRequestMethod)) > 0
}

// check refuses a request that changes something and comes from a page of an
// origin that is not listed. A browser would send it without a preflight where it
// looks like a form's, and hide only the answer.
//
// The request is of the gateway's own origin where the browser says so
// (Sec-Fetch-Site); a browser that does not say sends Origin, whose host is
// compared with the one that was asked. Programs send neither.
func (o crossOrigin) check(c *fasthttp.RequestCtx, p public) error {
	h := &c.Request.Header
	switch string(c.Method()) {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	from := string(h.Peek(fiber.HeaderOrigin))
	switch string(h.Peek("Sec-Fetch-Site")) {
	case "same-origin", "none": // none: the user's own doing
		return nil
	case "":
		host := p.asked.Host
		if host == "" {
			host = string(h.Host())
		}
		if from == "" || origin.Same(from, p.asked.Scheme, host) {
			return nil
		}
	}
	if o.allowed.Allows(from) {
		return nil
	}
	return fault.New(fault.Forbidden, "origin-not-allowed",
		"A page of this origin may not change anything here. The operator allows origins by CORS_ALLOWED_ORIGINS.")
}

// mark gives an answer the headers that let a page of a listed origin read it. It
// may be called twice. Vary is there without an Origin too, or a cache would give
// a page the answer that it keeps for programs.
func (o crossOrigin) mark(c *fasthttp.RequestCtx) {
	h, asked := &c.Response.Header, preflight(c)
	if asked {
		vary(h, fiber.HeaderAccessControlRequestMethod)
		vary(h, fiber.HeaderAccessControlRequestHeaders)
	}
	if len(o.allowed) == 0 {
		return
	}
	from := string(c.Request.Header.Peek(fiber.HeaderOrigin))
	if o.allowed.Any() {
		h.Set(fiber.HeaderAccessControlAllowOrigin, "*")
	} else {
		vary(h, fiber.HeaderOrigin)
		if !o.allowed.Allows(from) {
			return
		}
		h.Set(fiber.HeaderAccessControlAllowOrigin, from)
		h.Set(fiber.HeaderAccessControlAllowCredentials, "true")
	}
	if !asked {
		h.Set(fiber.HeaderAccessControlExposeHeaders, crossExposed)
		return
	}
	h.Set(fiber.HeaderAccessControlAllowMethods, crossMethods)
	h.Set(fiber.HeaderAccessControlAllowHeaders, crossHeaders)
	h.Set(fiber.HeaderAccessControlMaxAge, preflightAge)
}

// vary adds a name to Vary, unless it is there.
func vary(h *fasthttp.ResponseHeader, name string) {
	for _, line := range h.PeekAll(fiber.HeaderVary) {
		for given := range strings.SplitSeq(string(line), ",") {
			if given = strings.TrimSpace(given); given == "*" || strings.EqualFold(given, name) {
				return
			}
		}
	}
	h.Add(fiber.HeaderVary, name)
}

// corsHeader reports whether a header is for the gateway alone to set.
func corsHeader(name string) bool {
	return strings.HasPrefix(name, "Access-Control-")
}
