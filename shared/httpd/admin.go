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

// AdminConfig has the settings of the admin server. Every service has the same settings.
type AdminConfig struct {
	Addr string `env:"ADMIN_ADDR"`
}

// Admin serves the metrics and the probes on an address of its own, for operators. The address that
// clients use does not serve the metrics, since they reveal how much each route is used.
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
	a.Metrics.Dependencies(func() map[string]bool { return a.Health.Dependencies(ctx) })
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", a.Health.ServeLive)
	mux.HandleFunc("GET /readyz", a.Health.ServeReady)
	mux.HandleFunc("GET /health", a.Health.ServeHealth)
	mux.Handle("GET /metrics", a.Metrics.Handler())
	server := &Server{Addr: a.Config.Addr, Handler: mux, Grace: adminGrace, Listening: a.Listening, Log: a.Log}
	return server.Run(ctx)
}
