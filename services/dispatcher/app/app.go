// Package app assembles the dispatcher and runs it.
package app

import (
	"context"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/rs/zerolog"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/services/dispatcher/internal/analyzerclient"
	"sori.internal/services/dispatcher/internal/api"
	"sori.internal/services/dispatcher/internal/cache"
	"sori.internal/services/dispatcher/internal/objects"
	"sori.internal/services/dispatcher/internal/queue"
	"sori.internal/shared/buildinfo"
	"sori.internal/shared/bus"
	"sori.internal/shared/coordination"
	"sori.internal/shared/event"
	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/joblog"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/metrics"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/principal"
	"sori.internal/shared/staging"
)

// Name is the service's name, in logs and in ce-source.
const Name = "dispatcher"

// Run runs the dispatcher until ctx ends.
func Run(ctx context.Context, p lifecycle.Process) (err error) {
	var cfg Config
	log, err := p.Configure(&cfg, &cfg.Logging, Name)
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
	own, err := objectstore.Open(cfg.Objects)
	if err != nil {
		return err
	}
	results, err := cache.NewResults(events)
	if err != nil {
		return err
	}
	signatures, err := api.NewSignatures(cfg.SigningSecrets.Reveal())
	if err != nil {
		return err
	}
	s := newService(dependencies{
		cfg: &cfg, log: log, events: events, s3: s3, ownS3: own, results: results, signatures: signatures,
	})
	server := &httpd.Server{Addr: cfg.Addr, Grace: cfg.Grace, Listening: p.Listening, Log: log, Handler: s.routes()}
	admin := &httpd.Admin{Config: cfg.Admin, Health: s.health, Metrics: s.metrics, Listening: p.AdminListening, Log: log}
	return lifecycle.Run(ctx, s.health.Watch, server.Run, admin.Run,
		lifecycle.AfterSetup(log, s.setup, append(s.consumers(), s.usage.Run, s.stored.Run, s.runQueue, s.runSharing)...))
}

// dependencies has the settings, the logger and the clients that Run makes.
type dependencies struct {
	cfg    *Config
	log    zerolog.Logger
	events *bus.Bus
	s3     *minio.Client // client of the public endpoint, which only signs URLs
	ownS3  *minio.Client // client of the endpoint at which this process reaches S3

	results    *cache.Results
	signatures api.Signatures
}

// service has the parts of the dispatcher.
type service struct {
	dependencies
	metrics *metrics.Registry
	health  *health.Health
	usage   *bus.Usage // usage of the stream of logs
	stored  *bus.Usage // usage of the stream of cached results
	core    *analysis.Dispatcher
}

// newService assembles the parts. It does not connect to anything.
func newService(d dependencies) *service {
	s := &service{
		dependencies: d, metrics: metrics.New(),
		health: health.New(map[string]health.Check{"bus": d.events.Ready}, d.log),
		usage:  d.events.NewUsage(event.Jobs()),
		stored: d.events.NewUsage(event.Results()),
	}
	client := s.analyzerClient()
	s.metrics.Gauge("sori_analysis_breaker_open", "1 while the circuit breaker is open or half-open", client.BreakerOpen)
	deps := analysis.Dependencies{
		Jobs: joblog.New(d.events), Progress: d.events, Staging: staging.New(d.events),
		Links:    objects.New(d.s3, d.cfg.Objects, d.cfg.URLStyle, d.cfg.URLValid),
		LogUsage: s.usage,
		Analyzer: client, Signer: analysis.NewSigner(&d.cfg.Webhook, d.cfg.signer()),
		Queue:      queue.New(d.events),
		Sharing:    cache.NewSharing(d.events),
		StatusSeen: coordination.NewFlag(d.events, statusBucket, d.cfg.StatusURL.Key()),
	}
	if d.cfg.MaxRunning > 0 {
		deps.Slots = queue.NewSlots(d.events, slotsBucket, d.cfg.MaxRunning)
	}
	if d.cfg.Bus.ResultTTL > 0 {
		deps.Results, deps.Versions, deps.Counts = d.results, objects.NewVersions(d.ownS3, d.cfg.Objects), s.cacheCounts()
	}
	s.core = analysis.New(deps, analysis.Options{
		MaxAttempts: d.cfg.MaxAttempts, PollInterval: d.cfg.PollInterval, AnalysisVersion: d.cfg.AnalysisVersion,
	})
	s.metrics.Gauge("sori_analysis_queued", "attempts of all replicas that wait for a slot", s.core.Queued)
	s.metrics.Gauge("sori_analysis_queued_seconds", "how long the oldest of these attempts has waited", s.core.QueuedFor)
	return s
}

// cacheCounts registers the metrics of the result cache, and returns the functions that count its
// hits and misses.
func (s *service) cacheCounts() analysis.CacheCounts {
	s.metrics.Gauge("sori_result_cache_bytes", "size of the cached results of all replicas", func() float64 {
		return s.stored.Used(event.Results()) * float64(s.cfg.Bus.ResultMaxBytes)
	})
	return analysis.CacheCounts{
		Hit:    s.metrics.Counter("sori_result_cache_hits_total", "jobs that were completed with a cached result").Inc,
		Miss:   s.metrics.Counter("sori_result_cache_misses_total", "jobs that were analysed, since their result was not cached").Inc,
		Shared: s.metrics.Counter("sori_result_cache_shared_total", "jobs that were completed with the result of an analysis that was running").Inc,
	}
}

// analyzerClient makes the client of the analysis server.
func (s *service) analyzerClient() *analyzerclient.Client {
	return analyzerclient.New(analyzerclient.Options{
		Target: &s.cfg.Target, Format: s.cfg.RequestFormat, UserAgent: "sori/" + buildinfo.Version(),
		Timeout: s.cfg.RequestTimeout, Concurrency: s.cfg.Concurrency,
		BreakerFailures: s.cfg.BreakerFailures, BreakerDelay: s.cfg.BreakerDelay,
		Presigned: s.cfg.URLStyle == objects.Presigned,
		Status:    s.cfg.StatusURL, MaxStatusBytes: s.cfg.MaxWebhookBytes, Log: s.log,
	})
}

// routes returns the dispatcher's HTTP routes.
func (s *service) routes() *httpd.Mux {
	mux := httpd.NewMux(httpd.Info{
		Name: "sori-" + Name, Version: buildinfo.Version(),
		Links: map[string]string{"webhook": api.WebhookPath, "health": "/readyz"},
	}, s.health, s.metrics, s.log)
	api.Routes(mux, s.core, api.Options{
		MaxBody: s.cfg.MaxWebhookBytes, Signatures: s.signatures, DefaultLanguage: s.cfg.DefaultLanguage,
	})
	if secret := s.cfg.PrincipalSecret; secret != "" {
		api.RegisterResults(mux, s.core, principal.NewVerifier(principal.Config{Secret: secret}, time.Now))
	}
	return mux
}

// runQueue schedules the attempts that wait for a slot.
func (s *service) runQueue(ctx context.Context) error { return s.core.RunQueue(s.log.WithContext(ctx)) }

// runSharing reviews the jobs that share an analysis.
func (s *service) runSharing(ctx context.Context) error {
	return s.core.RunSharing(s.log.WithContext(ctx))
}

// setup makes the streams. It runs before the consumers start.
func (s *service) setup(ctx context.Context) error {
	if err := s.events.Ensure(ctx, Resources().Streams...); err != nil {
		return err
	}
	s.health.Started()
	return nil
}
