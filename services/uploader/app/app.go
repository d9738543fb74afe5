// Package app assembles the uploader and runs it.
package app

import (
	"context"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/rs/zerolog"

	"sori.internal/services/uploader/internal/api"
	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/fetch"
	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/resumable"
	"sori.internal/services/uploader/internal/tus"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/services/uploader/internal/uploads"
	"sori.internal/shared/buildinfo"
	"sori.internal/shared/bus"
	"sori.internal/shared/deadletter"
	"sori.internal/shared/event"
	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/joblog"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/metrics"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/principal"
	"sori.internal/shared/source"
	"sori.internal/shared/staging"
)

// Name is the service's name, in logs and in ce-source.
const Name = "uploader"

// Run runs the uploader until ctx ends.
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
	s3, err := objectstore.Open(cfg.Objects)
	if err != nil {
		return err
	}
	public, err := objectstore.OpenPublic(cfg.Objects)
	if err != nil {
		return err
	}
	sealer, err := source.NewSealer(cfg.Principal.Secret.Reveal())
	if err != nil {
		return err
	}
	s := newService(dependencies{cfg: &cfg, log: log, events: events, s3: s3, public: public, sealer: sealer})
	routes, err := s.routes()
	if err != nil {
		return err
	}
	server := &httpd.Server{Addr: cfg.Addr, Grace: cfg.Grace, Listening: p.Listening, Log: log, Handler: routes}
	admin := &httpd.Admin{Config: cfg.Admin, Health: s.health, Metrics: s.metrics, Listening: p.AdminListening, Log: log}
	return lifecycle.Run(ctx, s.health.Watch, server.Run, admin.Run,
		lifecycle.AfterSetup(log, s.setup, append(s.consumers(), s.sweeper.Run, s.watcher.Run, s.uploads.Run, s.finisher.Run)...))
}

// dependencies has the settings, the logger and the clients that Run makes.
type dependencies struct {
	cfg    *Config
	log    zerolog.Logger
	events *bus.Bus
	s3     *minio.Client
	public *minio.Client // client of the public S3 endpoint, which signs URLs and forms
	sealer *source.Sealer
}

// service has the parts of the uploader.
type service struct {
	dependencies
	metrics *metrics.Registry
	health  *health.Health
	bucket  *objects.Bucket
	core    *upload.Uploader
	remote  *upload.RemoteUploader
	eraser  *upload.Eraser
	sweeper *upload.Sweeper
	direct  *direct.Core
	watcher *direct.Watcher
	uploads *direct.Sweeper

	resumable *resumable.Core
	finisher  *resumable.Finisher
}

// newService assembles the parts. It does not connect to anything.
func newService(d dependencies) *service {
	bucket := objects.New(d.s3, d.public, d.cfg.Objects.Bucket)
	jobs, staged := joblog.New(d.events), staging.New(d.events)
	deps := upload.Dependencies{Jobs: jobs, Progress: d.events, Staging: staged, Objects: bucket}
	core := upload.New(deps)
	records := uploads.New(d.events)
	uploads := direct.New(direct.Dependencies{Records: records, Bucket: bucket, Jobs: jobs}, d.cfg.directOptions())
	resuming := resumable.New(resumable.Dependencies{Direct: uploads, Records: records, Bucket: bucket, Jobs: jobs}, d.cfg.resumableLimits())
	return &service{
		dependencies: d, metrics: metrics.New(),
		health: health.New(map[string]health.Check{
			"bus": d.events.Ready, "storage": objectstore.Ping(d.s3, d.cfg.Objects.Bucket),
		}, d.log),
		bucket: bucket,
		core:   core,
		remote: newRemote(d, jobs, bucket),
		eraser: upload.NewEraser(upload.EraserDependencies{
			Objects: bucket, Staging: staged, Jobs: jobs, DeadLetters: deadletter.New(d.events),
			Consumers: d.events, UploadConsumer: durable(event.NameReceived).Name, FetchConsumer: fetchConsumer,
		}),
		sweeper: upload.NewSweeper(upload.SweeperDependencies{Jobs: jobs, Staging: staged, Log: d.log},
			upload.SweeperOptions{Interval: d.cfg.SweepInterval, MinAge: d.cfg.SweepAge}),
		direct:  uploads,
		watcher: direct.NewWatcher(uploads, d.log),
		uploads: direct.NewSweeper(uploads, d.cfg.SweepInterval, d.log),

		resumable: resuming,
		finisher:  resumable.NewFinisher(resuming, d.cfg.SweepInterval, d.log),
	}
}

// The limits of fetches that the operator cannot set.
const (
	fetchIdle    = 30 * time.Second // a server that sends nothing for this time is disconnected
	fetchTries   = 3
	fetchBackoff = time.Second
)

// newRemote makes the RemoteUploader, which fetches recordings.
func newRemote(d dependencies, jobs *joblog.Store, bucket *objects.Bucket) *upload.RemoteUploader {
	return upload.NewRemote(upload.RemoteDependencies{
		Jobs: jobs, Progress: d.events, Objects: bucket, Sources: d.sealer, Fetcher: fetch.New(fetch.Options{
			Allowed: d.cfg.FetchAllowed, MaxBytes: d.cfg.MaxFetchBytes, MinRate: d.cfg.FetchMinRate,
			Idle: fetchIdle, Tries: fetchTries, Backoff: fetchBackoff,
		}),
	}, upload.RemoteOptions{
		Allowed: d.cfg.FetchAllowed, MaxBytes: d.cfg.MaxFetchBytes, Timeout: d.cfg.FetchTimeout, OfOwner: d.cfg.ownerFetches(),
	})
}

// routes returns the uploader's HTTP routes: those that every service has, and those of uploads.
func (s *service) routes() (*httpd.Mux, error) {
	mux := httpd.NewMux(httpd.Info{
		Name: "sori-" + Name, Version: buildinfo.Version(), Links: map[string]string{"health": "/readyz"},
	}, s.health, s.metrics, s.log)
	verifier := principal.NewVerifier(s.cfg.Principal, time.Now)
	api.New(s.direct, verifier, s.bucket.Name()).Routes(mux)
	resumable, err := tus.New(s.resumable, verifier)
	if err != nil {
		return nil, err
	}
	resumable.Routes(mux)
	s.metrics.Gauge("sori_uploads_unfinished", "multipart uploads to the bucket that are not completed", s.uploads.Open)
	s.metrics.Gauge("sori_uploads_unfinished_bytes", "bytes of their parts", s.uploads.Bytes)
	return mux, nil
}

// setup makes the streams and the bucket. It runs before the consumers start.
func (s *service) setup(ctx context.Context) error {
	if err := s.events.Ensure(ctx, Resources().Streams...); err != nil {
		return err
	}
	if err := objectstore.EnsureBucket(ctx, s.s3, s.cfg.Objects.Bucket, s.cfg.Objects.Region); err != nil {
		return err
	}
	if err := s.bucket.AllowOrigins(ctx, s.cfg.Origins, s.log); err != nil {
		return err
	}
	s.health.Started()
	return nil
}
