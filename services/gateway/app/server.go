package app

import (
	"net"

	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/api"
	"sori.internal/services/gateway/internal/audit"
	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/services/gateway/internal/proxy"
	"sori.internal/services/gateway/internal/quota"
	"sori.internal/services/gateway/internal/upload"
	"sori.internal/services/gateway/internal/web"
	"sori.internal/shared/buildinfo"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/membound"
	"sori.internal/shared/metrics"
	"sori.internal/shared/principal"
)

// serverDependencies has the dependencies of the HTTP server and its routes.
type serverDependencies struct {
	cfg     *Config
	conns   *connections
	uploads *upload.Core
	quotas  *quota.Quotas
	access  *access.Authenticator
	health  *health.Health
	audit   *audit.Log
	limits  httpserver.Limits
	metrics *metrics.Registry
	log     zerolog.Logger
}

// pitchMemory is the largest number of bytes of memory for all pitches that are being read and
// sent.
const pitchMemory = 192 << 20

// newServer makes the HTTP server. If listening is not nil, it is called with the server's address.
func newServer(d serverDependencies, listening func(net.Addr)) (*httpserver.Server, error) {
	docs, err := web.NewDocs(func(prefix string) ([]byte, error) { return api.Document(buildinfo.Version(), prefix) })
	if err != nil {
		return nil, err
	}
	return &httpserver.Server{
		Name: info().Name, Addr: d.cfg.Addr, Grace: d.cfg.Grace, Listening: listening, Log: d.log,
		Requests: d.metrics.Requests,
		BasePath: d.cfg.basePath(), Proxies: d.cfg.TrustedProxies, Origins: d.cfg.Origins, Hosts: d.cfg.Hosts,
		MinRate: d.cfg.MinBodyRate,
		MaxBody: max(d.cfg.uploadLimits().MaxBody(), d.cfg.MaxWebhookBytes, api.MaxJSON),
		Access:  d.access, Limits: d.limits,
		Audit:    d.audit.Record,
		Register: d.register(docs),
	}, nil
}

// register returns the function that adds all routes.
func (d serverDependencies) register(docs *web.Docs) func(*httpserver.Router, *httpserver.Shutdown) {
	console := web.Console{
		Dir: d.cfg.ConsoleDir, MediaOrigins: []string{d.cfg.mediaOrigin()},
		Info:   web.Info{Info: info(), MaxUploadBytes: d.cfg.MaxUploadBytes},
		SignIn: d.cfg.signIn(),
	}
	timeouts := httpserver.BodyLimits{Idle: d.cfg.UploadIdle, Total: d.cfg.UploadTimeout, MinRate: d.cfg.MinBodyRate, Memory: &httpserver.BodyMemory{}}
	signer := principal.NewSigner(d.cfg.Principal)
	return func(r *httpserver.Router, shutdown *httpserver.Shutdown) {
		tracker := proxy.Handler{
			Upstream: d.conns.tracker, MaxBody: api.MaxJSON, Timeouts: timeouts, Shutdown: shutdown, Signer: signer,
		}
		dispatcher := proxy.Handler{
			Upstream: d.conns.dispatcher, MaxBody: d.cfg.MaxWebhookBytes, ForwardTooLarge: true,
			Timeouts: timeouts, Shutdown: shutdown, Signer: signer,
		}
		uploader := proxy.Handler{
			Upstream: d.conns.uploader, MaxBody: api.MaxJSON, Timeouts: timeouts, Shutdown: shutdown, Signer: signer,
		}
		bytes := uploader
		bytes.MaxBody = d.cfg.MaxDirectBytes
		routes := api.Routes{
			Uploads: d.uploads, MaxUploadBody: d.cfg.uploadLimits().MaxBody(), Language: d.cfg.DefaultLanguage,
			BodyLimits: timeouts,
			Tokens:     d.conns.store, Details: catalogue.NewDetails(d.conns.store, d.conns.objects, membound.New(pitchMemory)),
			References: d.conns.objects,
			Scripts:    d.conns.store, Actors: d.conns.store,
			Keys: d.conns.store, ForgetKey: d.access.Forget,
			Quotas: d.quotas, Limits: d.cfg.publicLimits(),
			Direct: d.uploads, Uploader: uploader.Forward, DescribedUpload: uploader.ForwardWith, Bytes: bytes.ForwardAllWith,
			Tracker: tracker.Forward, Dispatcher: dispatcher.Forward,
			Results: proxy.Results{Dispatcher: d.conns.dispatcher, Signer: signer},
		}
		console.Register(r)
		httpserver.RegisterProbes(r, d.health)
		docs.Register(r)
		routes.Register(r)
	}
}

// addGauges adds the gauges of the gateway to its metrics.
func addGauges(m *metrics.Registry, uploads *upload.Core, usage *bus.Usage) {
	m.Gauge("sori_uploads_active", "uploads that are under way", func() float64 { return float64(uploads.Active()) })
	m.Gauge("sori_log_full_ratio", "how full the log of the jobs is", func() float64 { return usage.Used(event.Jobs()) })
	m.Gauge("sori_staging_full_ratio", "how full staging is", func() float64 { return usage.Used(event.Staging()) })
}

// info returns the answer to GET /.
func info() httpd.Info {
	return httpd.Info{Name: "sori-" + Name, Version: buildinfo.Version(), Links: map[string]string{
		"tokens": "/tokens/", "scripts": "/scripts/", "actors": "/actors/", "jobs": "/jobs/", "api_keys": "/api-keys/",
		"openapi": "/openapi.json", "docs": "/docs", "health": "/health", "ready": "/readyz",
	}}
}
