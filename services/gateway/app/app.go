// Package app assembles the gateway and runs it.
package app

import (
	"context"
	"net"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/api"
	"sori.internal/services/gateway/internal/audit"
	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/services/gateway/internal/issuer"
	"sori.internal/services/gateway/internal/proxy"
	"sori.internal/services/gateway/internal/quota"
	"sori.internal/services/gateway/internal/ratelimit"
	"sori.internal/services/gateway/internal/upload"
	"sori.internal/services/gateway/internal/web"
	"sori.internal/shared/buildinfo"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/joblog"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/membound"
	"sori.internal/shared/metrics"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
	"sori.internal/shared/source"
	"sori.internal/shared/staging"
)

// Name is the name of the service, in logs and in ce-source.
const Name = "gateway"

// sweepInterval is how often expired idempotency keys are deleted.
const sweepInterval = 10 * time.Minute

// Run runs the gateway until ctx ends.
func Run(ctx context.Context, p lifecycle.Process) (err error) {
	var cfg Config
	log, err := p.Configure(&cfg, &cfg.Logging, Name)
	if err != nil {
		return err
	}
	cfg.warn(log)
	conns, err := connect(&cfg, log)
	if err != nil {
		return err
	}
	defer lifecycle.Closing(&err, conns)

	ready := health.New(map[string]health.Check{"bus": conns.events.Ready, "database": postgres.Ping(conns.db)}, log)
	usage := conns.events.NewUsage(event.Jobs(), event.Staging())
	counts := metrics.New()
	quotas := newQuotas(&cfg, conns, counts)
	sealer, err := source.NewSealer(cfg.Principal.Secret.Reveal())
	if err != nil {
		return err
	}
	uploads := upload.New(upload.Dependencies{
		CheckReference: conns.objects.CheckReference, Tokens: conns.store, Claims: conns.store, Usage: usage, Quotas: quotas,
		Staging: staging.New(conns.events), JobLog: joblog.New(conns.events), Allowed: cfg.FetchAllowed, Sealer: sealer,
	}, cfg.uploadLimits())
	auditLog := audit.New(conns.store, cfg.AuditRetention, log)
	defer lifecycle.Closing(&err, auditLog)
	authenticator, issuerKeys := newAccess(&cfg, conns, log)
	addGauges(counts, uploads, usage)
	limits, exchange := newLimits(&cfg, conns.events, log)
	server, err := newServer(serverDependencies{ //nolint:contextcheck // each request has a context of its own
		cfg: &cfg, conns: conns, uploads: uploads, quotas: quotas, access: authenticator, audit: auditLog, limits: limits, health: ready, metrics: counts, log: log,
	}, p.Listening)
	if err != nil {
		return err
	}
	sweeper := upload.NewSweeper(conns.store, sweepInterval, log)
	relay := catalogue.NewRelay(conns.store, conns.events, log)
	admin := &httpd.Admin{Config: cfg.Admin, Health: ready, Metrics: counts, Listening: p.AdminListening, Log: log}
	// The exchange stops after the server: requests that arrive during the shutdown also count
	// toward the limits at the other replicas.
	serve := lifecycle.While(server.Run, exchange.Run)
	return lifecycle.Run(ctx, ready.Watch, serve, admin.Run, issuerKeys,
		lifecycle.AfterSetup(log, setup(conns, cfg.Postgres, ready), usage.Run, sweeper.Run, relay.Run, auditLog.Run, reportReferences(conns, log)))
}

// newQuotas makes the budgets of owners. It reads from the tracker how much an owner uses.
func newQuotas(cfg *Config, c *connections, counts *metrics.Registry) *quota.Quotas {
	unknown := counts.Counter("sori_usage_unknown_total", "uploads that were admitted without the usage of their owner")
	return quota.New(proxy.Usage{Tracker: c.tracker, Signer: principal.NewSigner(cfg.Principal)}, cfg.quotas(), unknown.Inc)
}

// newAccess returns the authenticator, and the component that fetches the keys of the OpenID
// provider. The component does nothing if there is no provider.
func newAccess(cfg *Config, c *connections, log zerolog.Logger) (*access.Authenticator, lifecycle.Component) {
	d, fetch := access.Dependencies{Keys: c.store, Now: time.Now}, func(context.Context) error { return nil }
	if cfg.Access.Issuer != "" {
		keys := issuer.New(cfg.Access.Issuer, log)
		d.Issuer, fetch = keys, keys.Run
	}
	if !cfg.Access.Enabled() {
		log.Warn().Msg("requests are not authenticated: everybody who reaches this address may do everything")
	}
	return access.New(cfg.Access, d), fetch
}

// newLimits returns the limits of each client, and the component that shares the usage of these
// limits with the other replicas.
func newLimits(cfg *Config, events *bus.Bus, log zerolog.Logger) (httpserver.Limits, *ratelimit.Exchange) {
	set := ratelimit.NewSet(cfg.Principal.Secret.Reveal())
	limits := cfg.clientLimits(set)
	return limits, ratelimit.NewExchange(set, events, events.NewSubscriber(ratelimit.BufferSize), log)
}

// Resources returns the streams that the gateway needs on NATS.
func Resources() bus.Resources {
	return bus.Resources{Streams: []event.Stream{event.Jobs(), event.Tokens(), event.Staging()}}
}

// setup returns the function that creates the streams and the tables of the gateway.
func setup(c *connections, cfg postgres.Config, ready *health.Health) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := c.events.Ensure(ctx, Resources().Streams...); err != nil {
			return err
		}
		if err := c.store.Prepare(ctx, cfg); err != nil {
			return err
		}
		ready.Started()
		return nil
	}
}

// reportReferences logs the tokens whose references are not allowed, once. Nothing waits for it: a
// catalogue may be large.
func reportReferences(c *connections, log zerolog.Logger) lifecycle.Component {
	return func(ctx context.Context) error {
		catalogue.ReportReferences(ctx, c.store, c.objects.CheckReference, log)
		return nil
	}
}

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
