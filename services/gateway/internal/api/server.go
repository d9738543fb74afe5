// Package api is the gateway's public door, on Fiber.
//
// It guarantees that every answer to a failure is a problem document, and that
// no client can make the process hold more than a bounded amount for it: bodies
// are streamed and counted, every read and every write has a deadline.
//
// The threat is request smuggling: a body that an early answer leaves unread must
// never be taken for the next request. fasthttp (from 1.77; a test sends the
// attack) drains a bounded rest or closes; here the rest has a deadline of its
// own, and a connection that ends early lingers, so that the answer is seen.
package api

import (
	"context"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"sori.internal/shared/logging"
)

// The bounds of a connection. A body has deadlines of its own (type body); a
// write's is for one write, so that streams may last.
const (
	headerTimeout = 15 * time.Second // for a request's header, from its first byte
	keepAlive     = 2 * time.Minute  // between two requests
	writeTimeout  = 30 * time.Second
	maxHeader     = 16 << 10 // bytes; also the buffer that every connection holds
	abortTimeout  = 3 * time.Second
)

// Server serves the routes.
type Server struct {
	Addr      string // host:port; port 0 is a free one
	Grace     time.Duration
	Listening func(net.Addr)
	Log       zerolog.Logger
	Routes    Routes
}

// Run listens and serves until ctx ends. Requests may then go on for the grace,
// uploads and event streams among them; streams that are left are handed over
// shortly before its end, other requests are cut at it.
func (s *Server) Run(ctx context.Context) error {
	var listen net.ListenConfig
	inner, err := listen.Listen(ctx, "tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.Addr, err)
	}
	work, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	l := newListener(inner)
	streams, handOver := context.WithCancel(work)
	defer handOver()
	app := s.app(work, ctx, streams)
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
	grace, cancel := context.WithTimeout(work, s.Grace)
	defer cancel()
	defer time.AfterFunc(s.Grace*7/10, handOver).Stop()
	l.closeUnused()
	// Its own error tells no more than that the grace was too short, which the
	// connections tell as well, those too that it had not heard of yet.
	_ = app.ShutdownWithContext(grace)
	_ = l.Close()
	if !l.drained(grace) {
		s.Log.Warn().Msg("open requests were cut")
		abort()
		l.closeAll()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		l.drained(last)
	}
	if err := <-failed; err != nil {
		return fmt.Errorf("serve on %s: %w", s.Addr, err)
	}
	return nil
}

// app makes the Fiber application. Requests work in the context work; stopped
// ends with the stop, streams when event streams are handed over.
func (s *Server) app(work, stopped, streams context.Context) *fiber.App {
	report := &reporter{log: s.Log, requests: s.Routes.Metrics.Requests}
	app := fiber.New(fiber.Config{
		AppName: s.Routes.Info.Name, DisableStartupMessage: true, CaseSensitive: true,
		// What a handler keeps must survive its request: net/http may still be
		// reading a header that it was given when the handler has returned.
		Immutable:         true,
		StreamRequestBody: true, DisablePreParseMultipartForm: true, BodyLimit: math.MaxInt,
		ReadBufferSize: maxHeader, ReadTimeout: headerTimeout, IdleTimeout: keepAlive,
		DisableDefaultContentType: true,
		ErrorHandler:              report.broken,
	})
	server := app.Server()
	server.HeaderReceived = s.Routes.headerReceived
	server.CloseOnShutdown = true
	server.ConnState = func(c net.Conn, state fasthttp.ConnState) {
		if c, ok := c.(*conn); ok && state == fasthttp.StateIdle {
			c.linger.Store(false)
		}
	}
	edge := &edge{app: app, proxies: s.Routes.Proxies, base: s.Routes.BasePath, origins: crossOrigin{allowed: s.Routes.Origins}}
	app.Use(func(c *fiber.Ctx) error {
		report.observe(work, c)
		return nil
	})
	app.Use(edge.guard)
	s.Routes.register(app) //nolint:contextcheck // a request has the context that observe gave it
	s.Routes.registerPassages(stopped, streams, s.Grace/10, app)
	s.Routes.registerUploads(app)
	s.Routes.registerCatalogue(app)
	app.Use(edge.unrouted)
	edge.surround(server)
	return app
}
