// Package httpd is the HTTP server of a service, on net/http. It adds the routes that every service
// has. For every route it adds a request id, a trace, one log line, one metric, recovery from
// panics and problem documents for errors.
package httpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"sori.internal/shared/fault"
	"sori.internal/shared/health"
	"sori.internal/shared/logging"
	"sori.internal/shared/metrics"
	"sori.internal/shared/problem"
	"sori.internal/shared/trace"
)

// RequestIDHeader is the header with the id of a request. The id that a client sends is kept if it
// is short and plain, so that the client can follow its request through all services.
const RequestIDHeader = "X-Request-Id"

// Server serves one handler.
type Server struct {
	Addr      string // host:port; port 0 means any free port
	Handler   http.Handler
	Grace     time.Duration // how long open requests may continue after a stop
	Listening func(net.Addr)
	Log       zerolog.Logger
}

// Run listens and serves until ctx ends, then waits until the open requests have finished, at most
// for Grace. After that it closes their connections.
func (s *Server) Run(ctx context.Context) error {
	var listen net.ListenConfig
	inner, err := listen.Listen(ctx, "tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.Addr, err)
	}
	clients := listener{inner}
	server := &http.Server{
		Handler: s.Handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	s.Log.Info().Stringer(logging.Address, inner.Addr()).Msg("listening")
	if s.Listening != nil {
		s.Listening(inner.Addr())
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(clients) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", s.Addr, err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Grace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		s.Log.Warn().Err(err).Msg("open requests were cut")
		_ = server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", s.Addr, err)
	}
	return nil
}

// Info is the response to GET /.
type Info struct {
	Name    string            `json:"name"`
	Version string            `json:"version"`
	Links   map[string]string `json:"links"`
}

// Mux routes requests. Every route that Handle registers also matches with a trailing slash.
type Mux struct {
	mux     *http.ServeMux
	log     zerolog.Logger
	metrics *metrics.Requests
}

// NewMux makes a mux with the routes that every service has: /, /health, /livez and /readyz. The
// mux records requests in m; Admin serves the metrics.
func NewMux(info Info, h *health.Health, m *metrics.Registry, log zerolog.Logger) *Mux {
	x := &Mux{mux: http.NewServeMux(), log: log, metrics: m.Requests}
	x.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		Fail(w, r, NoRoute())
	})
	x.Handle("GET /", func(w http.ResponseWriter, _ *http.Request) error {
		return JSON(w, http.StatusOK, info)
	})
	x.mux.HandleFunc("GET /livez", h.ServeLive)
	x.mux.HandleFunc("GET /readyz", h.ServeReady)
	x.mux.HandleFunc("GET /health", h.ServeHealth)
	return x
}

// NoRoute returns the failure of a request that matches no route.
func NoRoute() error {
	return fault.New(fault.NotFound, "route-not-found", "There is nothing at this path for this method.")
}

// Handle registers f for a pattern of http.ServeMux without a trailing slash. An error of f becomes
// a problem document.
func (x *Mux) Handle(pattern string, f func(http.ResponseWriter, *http.Request) error) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			Fail(w, r, err)
		}
	}
	pattern = strings.TrimSuffix(pattern, "/")
	if !strings.HasSuffix(pattern, " ") {
		x.mux.HandleFunc(pattern, handler)
	}
	x.mux.HandleFunc(pattern+"/{$}", handler)
}

// quiet reports whether the requests of a route are logged at level debug only: probes send them
// all the time.
func quiet(route string) bool {
	switch route {
	case "GET /livez", "GET /readyz", "GET /health":
		return true
	default:
		return false
	}
}

// ServeHTTP implements http.Handler.
func (x *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := RequestID(r.Header.Get(RequestIDHeader))
	ctx := trace.Continue(r.Context(), r.Header.Get(trace.Header))
	log := x.log.With().Str(logging.RequestID, id).Str(logging.Trace, trace.ID(ctx)).Logger()
	r = r.WithContext(log.WithContext(ctx))
	r.Header.Set(RequestIDHeader, id)
	w.Header().Set(RequestIDHeader, id)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &requestBody{ReadCloser: r.Body}
	}
	seen := &recorder{ResponseWriter: w}
	defer func() {
		if p := recover(); p != nil && p != any(http.ErrAbortHandler) {
			log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("handler panicked")
			if seen.status == 0 {
				Fail(seen, r, errors.New("the handler panicked"))
			}
		}
		took := time.Since(start)
		x.metrics.Observe(r.Pattern, r.Method, seen.status, took)
		level := zerolog.InfoLevel
		if quiet(r.Pattern) {
			level = zerolog.DebugLevel
		}
		log.WithLevel(level).Str(logging.Method, r.Method).Str(logging.Path, logging.SafePath(r.URL.Path)).Int(logging.Status, seen.status).
			Int64(logging.Bytes, seen.written).Float64(logging.Took, logging.Millis(took)).Msg("request answered")
	}()
	x.mux.ServeHTTP(seen, r)
}

// RequestID returns the id that a client sent if it is short and plain, otherwise a new one.
func RequestID(given string) string {
	plain := given != "" && len(given) <= 64 && strings.IndexFunc(given, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.'
	}) < 0
	if plain {
		return given
	}
	return uuid.NewString()
}

// Fail responds with err as a problem document, and logs err with its cause; nothing else logs it.
// If the client has left, Fail does nothing. If the handler has not read the body to its end, Fail
// closes the connection after the response: net/http would first read up to 256 KiB of the body,
// however slowly they arrive.
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	if fault.Stopped(r.Context(), err) { // the client left
		return
	}
	d := problem.From(err, problem.Request{
		Path: r.URL.Path, ID: r.Header.Get(RequestIDHeader), AcceptLanguage: r.Header.Get("Accept-Language"),
	})
	Report(zerolog.Ctx(r.Context()), err)
	if body, ok := r.Body.(*requestBody); ok && !body.ended {
		w.Header().Set("Connection", "close")
	}
	d.Write(w)
}

// Report logs the failure of a request: an internal error at level error, a dependency that is
// unavailable and a limit that is exceeded at warn, and a mistake of the client at debug.
func Report(log *zerolog.Logger, err error) {
	level := zerolog.DebugLevel
	switch fault.KindOf(err) {
	case fault.Internal:
		level = zerolog.ErrorLevel
	case fault.Unavailable, fault.Exhausted, fault.RateLimited:
		level = zerolog.WarnLevel
	}
	log.WithLevel(level).Err(err).Str(logging.Kind, fault.KindOf(err).String()).Msg("request failed")
}

// recorder records the status and the size of a response.
type recorder struct {
	http.ResponseWriter
	status  int
	written int64
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK { // an interim response (1xx) does not count
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.written += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
