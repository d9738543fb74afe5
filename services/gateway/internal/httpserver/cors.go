package httpserver

import (
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sori.internal/shared/fault"
	"sori.internal/shared/origin"
)

// cors allows pages of listed origins to use the API (the CORS protocol of the Fetch standard), and
// refuses requests of other pages that would change something.
//
// Fiber's own middleware cannot be used. It adds its headers before the handler runs, and the
// headers of a forwarded answer replace them. It does not see the answers of fasthttp itself. It
// has no pattern for ports. It sends the allowed methods and headers to pages of unlisted origins
// too.
type cors struct {
	allowed origin.List
}

// preflightMaxAge is how long a browser may cache the answer to a preflight, in seconds. It is the
// largest value that Chromium uses.
const preflightMaxAge = "7200"

// The headers and methods of the API, and those of the protocols for resumable
// uploads (tus 1.0 and the IETF's draft). A page may send further headers (allowedFor).
const (
	allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	allowedHeaders = "Accept, Accept-Language, Authorization, Baggage, Cache-Control, Content-Digest, Content-Language, Content-Type, " +
		"Idempotency-Key, If-Match, If-Modified-Since, If-None-Match, If-Range, Last-Event-ID, Pragma, Prefer, Range, Repr-Digest, " +
		"Traceparent, Tracestate, X-API-Key, X-Request-Id, X-Requested-With, " +
		"Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, Upload-Defer-Length, Upload-Draft-Interop-Version, " +
		"Upload-Incomplete, Upload-Length, Upload-Metadata, Upload-Offset, X-HTTP-Method-Override"
	exposedHeaders = "Accept-Ranges, Allow, Cache-Status, Content-Disposition, Content-Encoding, Content-Range, Date, ETag, Idempotency-Replayed, Link, Location, " +
		"Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, Sori-Job, Traceparent, WWW-Authenticate, X-Request-Id, " +
		"Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Complete, Upload-Concat, " +
		"Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, Upload-Incomplete, Upload-Length, Upload-Limit, Upload-Metadata, Upload-Offset"
)

// isPreflight reports whether a request is a CORS preflight.
func isPreflight(c *fasthttp.RequestCtx) bool {
	return string(c.Method()) == http.MethodOptions &&
		len(c.Request.Header.Peek(fiber.HeaderOrigin)) > 0 && len(c.Request.Header.Peek(fiber.HeaderAccessControlRequestMethod)) > 0
}

// check fails if a request comes from a page of an unlisted origin. Such a page may change nothing: a
// browser sends a request without a preflight if a form could send the same request, and only hides
// the answer from the page.
//
// A request comes from the gateway's own origin if its Sec-Fetch-Site header says so. A browser
// without this header sends Origin, whose host is compared with the requested host. Programs that
// are not browsers send neither header.
func (x cors) check(c *fasthttp.RequestCtx, p publicURL) error {
	h := &c.Request.Header
	from := string(h.Peek(fiber.HeaderOrigin))
	switch string(h.Peek("Sec-Fetch-Site")) {
	case "same-origin", "none": // none: the user started the request, for example by a bookmark
		return nil
	case "":
		host := p.forwarded.Host
		if host == "" {
			host = string(h.Host())
		}
		if from == "" || origin.Same(from, p.forwarded.Scheme, host) {
			return nil
		}
	}
	if x.allowed.Allows(from) {
		return nil
	}
	return fault.New(fault.Forbidden, "origin-not-allowed",
		"A page of this origin may not change anything here. The operator allows origins by CORS_ALLOWED_ORIGINS.")
}

// setHeaders sets the headers that let a page of a listed origin read an answer. It may be called
// twice for an answer. Vary is also set if the request has no Origin: such an answer has no CORS
// headers, and a cache must not serve it to a page of a listed origin.
func (x cors) setHeaders(c *fasthttp.RequestCtx) {
	h, preflight := &c.Response.Header, isPreflight(c)
	if preflight {
		vary(h, fiber.HeaderAccessControlRequestMethod)
		vary(h, fiber.HeaderAccessControlRequestHeaders)
	}
	if len(x.allowed) == 0 {
		return
	}
	from := string(c.Request.Header.Peek(fiber.HeaderOrigin))
	if x.allowed.Any() {
		h.Set(fiber.HeaderAccessControlAllowOrigin, "*")
	} else {
		vary(h, fiber.HeaderOrigin)
		if !x.allowed.Allows(from) {
			return
		}
		h.Set(fiber.HeaderAccessControlAllowOrigin, from)
		h.Set(fiber.HeaderAccessControlAllowCredentials, "true")
	}
	if !preflight {
		h.Set(fiber.HeaderAccessControlExposeHeaders, exposedHeaders)
		return
	}
	h.Set(fiber.HeaderAccessControlAllowMethods, allowedMethods)
	h.Set(fiber.HeaderAccessControlAllowHeaders, allowedFor(string(c.Request.Header.Peek(fiber.HeaderAccessControlRequestHeaders))))
	h.Set(fiber.HeaderAccessControlMaxAge, preflightMaxAge)
}

// maxRequested limits how many names of headers are read from Access-Control-Request-Headers.
const maxRequested = 100

// allowedFor returns the headers that a page may send: those of the API, and any other that its
// preflight names. Libraries add headers to the requests of a page, such as sentry-trace and
// X-Datadog-Trace-Id. A browser refuses the whole request if one of them is not allowed, and a client
// that is no browser can send every header anyway.
func allowedFor(requested string) string {
	allowed, known := allowedHeaders, ", "+strings.ToLower(allowedHeaders)+", "
	for _, name := range strings.SplitN(requested, ",", maxRequested) {
		name = strings.TrimSpace(name)
		if isToken(name) && !strings.Contains(known, ", "+strings.ToLower(name)+", ") {
			allowed += ", " + name
		}
	}
	return allowed
}

// isToken reports whether a text can be the name of a header (RFC 9110, section 5.6.2).
func isToken(name string) bool {
	return name != "" && strings.IndexFunc(name, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	}) < 0
}

// vary adds a name to Vary unless Vary has it.
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

// IsCORSHeader reports whether a response header is one of CORS, which only this package may set.
func IsCORSHeader(name string) bool {
	return strings.HasPrefix(name, "Access-Control-")
}
