package httpserver

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"sori.internal/shared/health"
	"sori.internal/shared/metrics"
)

// RegisterProbes adds the routes that orchestrators and Prometheus call.
func RegisterProbes(r fiber.Router, h *health.Health, m *metrics.Registry) {
	r.Get("/livez", NetHTTP(http.HandlerFunc(h.ServeLive)))
	r.Get("/readyz", NetHTTP(http.HandlerFunc(h.ServeReady)))
	r.Get("/health", NetHTTP(http.HandlerFunc(h.ServeHealth)))
	r.Get("/metrics", NetHTTP(m.Handler()))
}

// isProbe reports whether a path is one of a probe. Probes are logged at debug level, and answer
// without the base path too.
func isProbe(path string) bool {
	switch path {
	case "/livez", "/readyz", "/health", "/metrics":
		return true
	default:
		return false
	}
}
