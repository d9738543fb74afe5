package httpserver

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/audit"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/logging"
	"sori.internal/shared/metrics"
	"sori.internal/shared/trace"
)

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
