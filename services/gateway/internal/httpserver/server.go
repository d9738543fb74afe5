// Package httpserver is the HTTP server of the gateway, on Fiber and fasthttp. Other packages
// register their routes with it.
//
// It guarantees that every response to a failure is a problem document, and that no client can make
// the process use more than a limited amount of memory: bodies are streamed and their bytes
// counted, and every read and write has a deadline.
//
// It also prevents request smuggling: if a request is answered before its body is read, the unread
// part of the body must never be parsed as the next request. fasthttp (from 1.77; a test sends the
// attack) reads and discards the unread part up to a limit, or closes the connection. This package
// limits the time for that, too, and delays the close of a connection whose body was not read, so
// that the client can read the response.
package httpserver

import (
	"context"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"sori.internal/services/gateway/internal/audit"
	"sori.internal/services/gateway/internal/forwarded"
	"sori.internal/shared/logging"
	"sori.internal/shared/metrics"
	"sori.internal/shared/origin"
)

// The limits of a connection. Bodies have deadlines of their own (see Body). writeTimeout is by how
// much time a client may fall behind the minimum rate when it reads an answer. The time in which
// the server has nothing to send does not count, so streams can stay open.
const (
	headerTimeout = 15 * time.Second // longest time from the first byte of a header to its end
	keepAlive     = 2 * time.Minute  // longest time between two requests on a connection
	writeTimeout  = 30 * time.Second
	maxHeader     = 16 << 10 // bytes; also the size of every connection's buffer
	abortTimeout  = 3 * time.Second
)

// Server serves the routes that are registered with it.
type Server struct {
	Name      string // name of the application
	Addr      string // host:port; port 0 means any free port
	Grace     time.Duration
	Listening func(net.Addr) // if set, called with the address that the server listens on
	Log       zerolog.Logger
	Requests  *metrics.Requests

	BasePath string            // path before every route, without a trailing slash; empty is the root
	Proxies  forwarded.Proxies // proxies whose X-Forwarded headers are used
	Origins  origin.List       // origins of other sites whose pages may use the API
	Hosts    Hosts             // names by which clients may request the gateway; if empty: on a loopback address only the names of this machine, otherwise every name
	MaxBody  int64             // bytes of the largest body of a route, unless Route.MaxBody is larger
	MinRate  int64             // bytes per second at which clients must read responses

	// Access authenticates requests.
	Access Authenticator
	// Audit records a request in the audit log.
	Audit func(audit.Entry)

	Limits Limits // limits of each client

	// Register adds the routes. It must add a more specific route before a more general one. A path
	// matches with and without a trailing slash.
	Register func(r *Router, shutdown *Shutdown)
}

// Run listens and serves until ctx ends. Requests, including uploads and event streams, may then
// continue for the grace period. Event streams that are still open are ended at 7/10 of the grace
// period, other requests at its end.
func (s *Server) Run(ctx context.Context) error {
	var listen net.ListenConfig
	inner, err := listen.Listen(ctx, "tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.Addr, err)
	}
	work, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	streams, endStreams := context.WithCancel(work)
	defer endStreams()
	l := newListener(inner, s.MinRate)
	hosts := newHostRule(s.Hosts, l.Addr())
	if hosts.any {
		s.Log.Info().Msg("requests for every host are served, since ALLOWED_HOSTS is not set")
	}
	app := s.app(work, hosts, &Shutdown{begun: ctx, streams: streams, StreamSpread: s.Grace / 10})
	s.Log.Info().Stringer(logging.Address, l.Addr()).Msg("listening")
	if s.Listening != nil {
		s.Listening(l.Addr())
	}
	failed := make(chan error, 1)
	go func() { failed <- app.Listener(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", s.Addr, err)
	case <-ctx.Done():
	}
	defer time.AfterFunc(s.Grace*7/10, endStreams).Stop()
	if !s.drain(work, app, l) {
		s.Log.Warn().Msg("open requests were cut")
		abort()
		l.closeAll()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		l.waitClosed(last)
	}
	if err := <-failed; err != nil {
		return fmt.Errorf("serve on %s: %w", s.Addr, err)
	}
	return nil
}

// drain stops listening and waits until every connection is closed. It returns false if the grace
// period ends before that.
func (s *Server) drain(ctx context.Context, app *fiber.App, l *listener) bool {
	ctx, cancel := context.WithTimeout(ctx, s.Grace)
	defer cancel()
	l.closeUnused()
	// The error of ShutdownWithContext means only that the grace period was too short. The listener
	// reports this too, and includes the connections that Fiber has not seen yet.
	_ = app.ShutdownWithContext(ctx)
	_ = l.Close()
	return l.waitClosed(ctx)
}

// app makes the Fiber application. The context of every request is derived from the parameter work.
func (s *Server) app(work context.Context, hosts hostRule, shutdown *Shutdown) *fiber.App {
	requests := &requestLog{log: s.Log, metrics: s.Requests, audit: s.Audit}
	app := fiber.New(fiber.Config{
		AppName: s.Name, DisableStartupMessage: true, CaseSensitive: true,
		// Strings that a handler passes on must outlive its request: net/http may still read a
		// header after the handler has returned.
		Immutable:         true,
		StreamRequestBody: true, DisablePreParseMultipartForm: true, BodyLimit: math.MaxInt,
		ReadBufferSize: maxHeader, ReadTimeout: headerTimeout, IdleTimeout: keepAlive,
		DisableDefaultContentType: true,
		ErrorHandler:              requests.unreadable,
	})
	router := NewRouter(app, s.Access, s.Limits)
	server := app.Server()
	server.HeaderReceived = func(h *fasthttp.RequestHeader) fasthttp.RequestConfig { return s.headerReceived(work, router, h) }
	server.CloseOnShutdown = true
	server.ConnState = func(c net.Conn, state fasthttp.ConnState) {
		if c, ok := c.(*conn); ok && state == fasthttp.StateIdle {
			c.linger.Store(false)
		}
	}
	edge := &edge{app: app, router: router, proxies: s.Proxies, base: s.BasePath, hosts: hosts, cors: cors{allowed: s.Origins}, limits: s.Limits}
	app.Use(func(c *fiber.Ctx) error {
		requests.handle(work, c)
		return nil
	})
	app.Use(edge.guard)
	s.Register(router, shutdown)
	app.Use(edge.notFound)
	edge.wrap(server)
	return app
}
