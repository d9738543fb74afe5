package httpserver

import (
	"net/http"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/shared/health"
)

// RegisterProbes adds the routes of the liveness and readiness probes.
func RegisterProbes(r *Router, h *health.Health) {
	r.Get("/livez", access.Public, NetHTTP(http.HandlerFunc(h.ServeLive)))
	r.Get("/readyz", access.Public, NetHTTP(http.HandlerFunc(h.ServeReady)))
	r.Get("/health", access.Public, NetHTTP(http.HandlerFunc(h.ServeHealth)))
}

// isProbe reports whether a path is the path of a probe. Probes are logged at debug level, and are
// also answered without the base path.
func isProbe(path string) bool {
	switch path {
	case "/livez", "/readyz", "/health":
		return true
	default:
		return false
	}
}
