// Package app assembles the gateway and runs it.
package app

import (
	"context"
	"time"

	"sori.internal/services/gateway/internal/api"
	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/objects"
	"sori.internal/services/gateway/internal/passage"
	"sori.internal/services/gateway/internal/store"
	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/buildinfo"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/logging"
	"sori.internal/shared/metrics"
	"sori.internal/shared/postgres"
)

// Name is the service's name, in logs and in ce-source.
const Name = "gateway"

// sweepInterval is how often expired idempotency keys are swept.
const sweepInterval = 10 * time.Minute

// Run runs the gateway until ctx ends.
func Run(ctx context.Context, p lifecycle.Process) (err error) {
	var cfg Config
	if err := config.Load(p.Lookup, &cfg); err != nil {
		return err
	}
	log, err := logging.New(cfg.Logging, Name, buildinfo.Version(), p.Stderr)
	if err != nil {
		return err
	}

	events, err := bus.Open(cfg.Bus, Name, log)
	if err != nil {
		return err
	}
	defer lifecycle.Closing(&err, events)
	db, err := postgres.Open(cfg.Postgres, store.Schema)
	if err != nil {
		return err
	}
	defer lifecycle.Closing(&err, db)
	tracker := passage.New(cfg.Tracker, "job service")
	defer lifecycle.Closing(&err, tracker)
	dispatcher := passage.New(cfg.Dispatcher, "callback service")
	defer lifecycle.Closing(&err, dispatcher)
	references, err := objects.Open(cfg.Objects)
	if err != nil {
		return err
	}

	docs, err := api.NewDocs(buildinfo.Version())
	if err != nil {
		return err
	}
	counts := metrics.New()
	ready := health.New(map[string]health.Check{"bus": events.Ready, "database": postgres.Ping(db)})
	rows := store.New(db)
	levels := events.Levels(event.Jobs(), event.Staging())
	limits := upload.Limits{
		MaxBytes: cfg.MaxUploadBytes, Concurrent: cfg.MaxUploads, Reserve: cfg.UploadReserve, Lease: cfg.IdempotencyLease,
	}
	core := upload.New(rows, events, events, rows, levels, limits)
	sweeper := upload.NewSweeper(rows, sweepInterval, log)
	deletions := catalogue.NewDeletions(rows, events, log)
	counts.Gauge("sori_uploads_active", "uploads that are under way", func() float64 { return float64(core.Active()) })
	counts.Gauge("sori_log_full_ratio", "how full the log of the jobs is", func() float64 { return levels.Of(event.Jobs()) })
	counts.Gauge("sori_staging_full_ratio", "how full staging is", func() float64 { return levels.Of(event.Staging()) })
	server := &api.Server{
		Addr: cfg.Addr, Grace: cfg.Grace, Listening: p.Listening, Log: log,
		Routes: api.Routes{
			Info: info(), Health: ready, Metrics: counts, Docs: docs,
			Console:  api.Console{Dir: cfg.ConsoleDir, Media: []string{cfg.mediaOrigin()}},
			BasePath: cfg.basePath(), Proxies: cfg.TrustedProxies, Origins: cfg.Origins,
			Uploads: core, UploadPace: api.Pace{Idle: cfg.UploadIdle, Total: cfg.UploadTimeout},
			MaxUpload: cfg.MaxUploadBytes, MaxUploadBody: limits.MaxBody(), Language: cfg.DefaultLanguage,
			Tokens: rows, Details: catalogue.NewDetails(rows, references), Scripts: rows, Actors: rows,
			Tracker: tracker, Dispatcher: dispatcher, MaxWebhookBytes: cfg.MaxWebhookBytes,
		},
	}
	return lifecycle.Run(ctx, ready.Watch, server.Run, lifecycle.After(log, setup(events, rows, ready), levels.Run, sweeper.Run, deletions.Run))
}

// setup prepares what the gateway works on.
func setup(events *bus.Bus, rows *store.Store, ready *health.Health) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := events.Ensure(ctx, event.Jobs(), event.Tokens(), event.Staging()); err != nil {
			return err
		}
		if err := rows.Migrate(ctx); err != nil {
			return err
		}
		ready.Started()
		return nil
	}
}

// info is what GET / tells.
func info() httpd.Info {
	return httpd.Info{Name: "sori-" + Name, Version: buildinfo.Version(), Links: map[string]string{
		"tokens": "/tokens/", "scripts": "/scripts/", "actors": "/actors/", "jobs": "/jobs/",
		"openapi": "/openapi.json", "docs": "/docs", "health": "/health", "ready": "/readyz", "metrics": "/metrics",
	}}
}
