package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/logging"
	"sori.internal/shared/metrics"
	"sori.internal/shared/problem"
	"sori.internal/shared/trace"
)

// Codes of failures that HTTP has a status of its own for, which no kind has.
const (
	codeTimeout      = "request-timeout"
	codeLargeHeaders = "headers-too-large"
	codeMethod       = "method-not-allowed"
)

// unrouted is the route, in metrics, of what no route takes.
const unrouted = "unrouted"

// refusedRest is how long the rest of a refused body may take to arrive before
// its connection ends.
const refusedRest = 2 * time.Second

// fail answers with err as a problem document and logs its cause: once, here.
func fail(c *fiber.Ctx, log *zerolog.Logger, id string, err error) {
	httpd.Report(log, err)
	d := problem.From(err, problem.Request{Path: c.Path(), ID: id, AcceptLanguage: c.Get(fiber.HeaderAcceptLanguage)})
	switch d.Code {
	case "unsupported-encoding":
		c.Set(fiber.HeaderAcceptEncoding, "identity") // RFC 9110, section 15.5.16
	case codeTimeout:
		d.Status = http.StatusRequestTimeout
	case codeLargeHeaders:
		d.Status = http.StatusRequestHeaderFieldsTooLarge
	case codeMethod:
		d.Status = http.StatusMethodNotAllowed
	case catalogue.CodeStale:
		d.Status = http.StatusPreconditionFailed
	}
	d.Title = http.StatusText(d.Status)
	text, err := json.Marshal(d)
	if err != nil { // only an extension that cannot be marshalled leads here
		d.Extra = nil
		text, _ = json.Marshal(d)
	}
	c.Response().ResetBody()
	c.Set(fiber.HeaderContentType, problem.ContentType)
	c.Set(fiber.HeaderCacheControl, "no-store")
	if d.RetryAfter > 0 {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(d.RetryAfter))
	}
	c.Status(d.Status)
	_ = c.Send(text) // never fails
	linger(c)
}

// linger lets a client that still sends what is refused read why, before its connection
// ends.
func linger(c *fiber.Ctx) {
	if inner, ok := c.Context().Conn().(*conn); ok {
		inner.linger.Store(true)
		_ = c.Context().SetReadDeadline(time.Now().Add(refusedRest))
	}
}

// ofFiber gives Fiber's own failures a kind.
func ofFiber(err error) error {
	own, ok := errors.AsType[*fiber.Error](err)
	if !ok {
		return err
	}
	switch own.Code {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return httpd.NoRoute()
	case http.StatusRequestTimeout:
		return fault.Wrap(fault.Invalid, codeTimeout, "The request came too slowly.", err)
	case http.StatusRequestHeaderFieldsTooLarge:
		return fault.Wrap(fault.Invalid, codeLargeHeaders, "The header of the request is too large.", err)
	default:
		return fault.Wrap(fault.Invalid, "malformed-request", "The request could not be read.", err)
	}
}

// stopping is the failure of a request that a stop has cut.
func stopping(cause error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "stopping", RetryAfter: time.Second, Err: cause,
		Detail: "The service is restarting. Please try again.",
	}
}

// reporter sees every request.
type reporter struct {
	log      zerolog.Logger
	requests *metrics.Requests
}

// broken answers requests that never reached a handler.
func (r *reporter) broken(c *fiber.Ctx, err error) error {
	id := httpd.RequestID(c.Get(httpd.RequestIDHeader))
	log := r.log.With().Str(logging.RequestID, id).Logger()
	c.Set(httpd.RequestIDHeader, id)
	fail(c, &log, id, ofFiber(err))
	r.requests.Observe(unrouted, "any", c.Response().StatusCode(), 0)
	return nil
}

// observe gives a request its id, its trace, its context, made of work, and its
// logger, and when it is over its one line and its count. It is where errors and
// panics end.
func (r *reporter) observe(work context.Context, c *fiber.Ctx) {
	start := time.Now()
	id := httpd.RequestID(c.Get(httpd.RequestIDHeader))
	ctx := trace.Continue(work, c.Get(trace.Header))
	log := r.log.With().Str(logging.RequestID, id).Str(logging.Trace, trace.ID(ctx)).Logger()
	ctx = log.WithContext(ctx)
	c.SetUserContext(ctx)
	c.Request().Header.Set(httpd.RequestIDHeader, id)
	c.Set(httpd.RequestIDHeader, id)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	if err := next(c, &log); err != nil {
		if fault.Stopped(ctx, err) {
			err = stopping(err)
		}
		fail(c, zerolog.Ctx(ctx), id, ofFiber(err))
	}
	route, method, path, status := c.Route().Path, c.Method(), c.Path(), c.Response().StatusCode()
	if route == "/" && (status == http.StatusNotFound || method != http.MethodGet && method != http.MethodHead) {
		route = unrouted // no route but the root has this path, and it takes no other method
	}
	over := func(written int64) {
		took := time.Since(start)
		r.requests.Observe(method+" "+route, method, status, took)
		level := zerolog.InfoLevel
		if quiet(route) {
			level = zerolog.DebugLevel
		}
		zerolog.Ctx(ctx).WithLevel(level).Str(logging.Method, method).Str(logging.Path, path).Int(logging.Status, status).
			Int64(logging.Bytes, written).Float64(logging.Took, logging.Millis(took)).Msg("request answered")
	}
	if s, ok := c.Locals(streamKey{}).(*stream); ok {
		s.over = over // after the handler: it is written when this has returned
		return
	}
	over(int64(len(c.Response().Body())))
}

// next runs the handlers and turns a panic into a failure.
func next(c *fiber.Ctx, log *zerolog.Logger) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("handler panicked")
			err = fault.New(fault.Internal, "internal", "Something went wrong on our side.")
		}
	}()
	return c.Next()
}

// quiet are the routes that probes ask all day.
func quiet(route string) bool {
	switch route {
	case "/livez", "/readyz", "/health", "/metrics":
		return true
	default:
		return false
	}
}
