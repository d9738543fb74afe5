// Package app assembles the dispatcher and runs it.
package app

import (
	"context"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/services/dispatcher/internal/api"
	"sori.internal/services/dispatcher/internal/intake"
	"sori.internal/services/dispatcher/internal/objects"
	"sori.internal/services/dispatcher/internal/server"
	"sori.internal/shared/buildinfo"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/logging"
	"sori.internal/shared/metrics"
	"sori.internal/shared/objectstore"
)

// Name is the service's name, in logs and in ce-source.
const Name = "dispatcher"

// maxWaiting is how many events of each kind may wait for the analysis server, and
// have their jobs told so. What comes on top waits unseen, behind them.
const maxWaiting = 10_000

// Run runs the dispatcher until ctx ends.
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
	s3, err := objectstore.OpenPublic(cfg.Objects)
	if err != nil {
		return err
	}

	counts := metrics.New()
	ready := health.New(map[string]health.Check{"bus": events.Ready})
	client := server.New(server.Options{
		Target: &cfg.Target, Format: cfg.RequestFormat, UserAgent: "sori/" + buildinfo.Version(),
		Timeout: cfg.RequestTimeout, Concurrency: cfg.Concurrency, Failures: cfg.BreakerFailures, Rest: cfg.BreakerDelay,
		Presigned: cfg.URLStyle == objects.Presigned, Status: cfg.StatusURL, MaxStatus: cfg.MaxWebhookBytes, Log: log,
	})
	counts.Gauge("sori_analysis_breaker_open", "1 while the analysis server is given a rest", client.Resting)
	deps := analysis.Dependencies{
		Jobs: events, Progress: events, Staging: events,
		Links:    objects.New(s3, cfg.Objects, cfg.URLStyle, cfg.URLValid),
		Analyzer: client, Signer: analysis.NewSigner(&cfg.Webhook, cfg.WebhookSecret.Reveal()),
		StatusSeen: events.Mark("ANALYSIS_STATUS", cfg.StatusURL.Key()),
	}
	if cfg.MaxRunning > 0 {
		deps.Slots = events.Slots("ANALYSIS_SLOTS", cfg.MaxRunning)
	}
	core := analysis.New(deps, analysis.Options{MaxAttempts: cfg.MaxAttempts, PollInterval: cfg.PollEvery})
	mux := httpd.NewMux(httpd.Info{
		Name: "sori-" + Name, Version: buildinfo.Version(),
		Links: map[string]string{"webhook": api.WebhookPath, "health": "/readyz"},
	}, ready, counts, log)
	api.Routes(mux, core, cfg.MaxWebhookBytes, cfg.Language)
	serve := &httpd.Server{Addr: cfg.Addr, Grace: cfg.Grace, Listening: p.Listening, Log: log, Handler: mux}

	setup := func(ctx context.Context) error {
		if err := events.Ensure(ctx, event.Jobs(), event.Dead(), event.Staging()); err != nil {
			return err
		}
		ready.Started()
		return nil
	}
	return lifecycle.Run(ctx, ready.Watch, serve.Run, lifecycle.After(log, setup, consumers(&cfg, events, core, counts)...))
}

// consumers are the parts that handle events: one for each kind, since a consumer with several
// filters is slow where few subjects match.
func consumers(cfg *Config, events *bus.Bus, core *analysis.Dispatcher, counts *metrics.Registry) []lifecycle.Part {
	consumer := func(name event.Name, handle func(context.Context, bus.Delivery) error) bus.Consumer {
		return bus.Consumer{
			Name: Name + "-" + string(name), Filters: []string{event.Every(name)},
			Concurrency: cfg.Concurrency, MaxPending: maxWaiting, Grace: cfg.Grace, Metrics: counts.Events,
			Handle: handle,
		}
	}
	consume := func(name event.Name, handle func(context.Context, bus.Delivery) error) lifecycle.Part {
		c := consumer(name, handle)
		c.GiveUp = intake.GiveUp(core)
		return func(ctx context.Context) error { return events.Consume(ctx, c) }
	}
	// An event that is only watched fails no job where it cannot be handled.
	watch := func(name event.Name, handle func(context.Context, bus.Delivery) error) lifecycle.Part {
		c := consumer(name, handle)
		c.Steady = true
		return func(ctx context.Context) error { return events.Consume(ctx, c) }
	}
	parts := []lifecycle.Part{
		consume(event.NameStored, intake.Stored(core)),
		consume(event.NameRetried, intake.Retried(core)),
		consume(event.NameLapsed, intake.Lapsed(core)),
	}
	if cfg.StatusURL != "" { // without one there is nothing to ask
		parts = append(parts, watch(event.NameDispatched, intake.Dispatched(core)), watch(event.NameRefused, intake.Refused(core)))
	}
	return parts
}
