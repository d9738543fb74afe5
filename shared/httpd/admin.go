package httpd

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/health"
	"sori.internal/shared/metrics"
)

// AdminConfig has the settings of the admin server. Every service has the same.
type AdminConfig struct {
	Addr string `env:"ADMIN_ADDR"`
}

// Admin serves what only operators may read, on an address of its own: the metrics, and the probes.
// Metrics tell how much a service is used and by which routes, so the address with the routes for
// clients does not have them.
type Admin struct {
	Config    AdminConfig // without an address, nothing is served
	Health    *health.Health
	Metrics   *metrics.Registry
	Listening func(net.Addr)
	Log       zerolog.Logger
}

// adminGrace is how long an open request may continue after a stop.
const adminGrace = time.Second

// Run listens and serves until ctx ends.
func (a *Admin) Run(ctx context.Context) error {
	if a.Config.Addr == "" {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", a.Health.ServeLive)
	mux.HandleFunc("GET /readyz", a.Health.ServeReady)
	mux.HandleFunc("GET /health", a.Health.ServeHealth)
	mux.Handle("GET /metrics", a.Metrics.Handler())
	server := &Server{Addr: a.Config.Addr, Handler: mux, Grace: adminGrace, Listening: a.Listening, Log: a.Log}
	return server.Run(ctx)
}
