// Package app assembles the uploader and runs it.
package app

import (
	"context"

	"sori.internal/services/uploader/internal/intake"
	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/upload"
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
const Name = "uploader"

// receivedConsumer is the consumer by which recordings are copied.
const receivedConsumer = Name + "-received"

// Run runs the uploader until ctx ends.
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
	s3, err := objectstore.Open(cfg.Objects)
	if err != nil {
		return err
	}

	counts := metrics.New()
	ready := health.New(map[string]health.Check{
		"bus": events.Ready, "storage": objectstore.Ping(s3, cfg.Objects.Bucket),
	})
	bucket := objects.New(s3, cfg.Objects.Bucket)
	core := upload.New(events, events, bucket)
	eraser := upload.NewEraser(bucket, events, events, receivedConsumer)
	sweeper := upload.NewSweeper(core, events, cfg.SweepInterval, cfg.SweepAge, log)
	server := &httpd.Server{
		Addr: cfg.Addr, Grace: cfg.Grace, Listening: p.Listening, Log: log,
		Handler: httpd.NewMux(httpd.Info{
			Name: "sori-" + Name, Version: buildinfo.Version(), Links: map[string]string{"health": "/readyz"},
		}, ready, counts, log),
	}

	setup := func(ctx context.Context) error {
		if err := events.Ensure(ctx, event.Jobs(), event.Dead(), event.Staging()); err != nil {
			return err
		}
		if err := objectstore.EnsureBucket(ctx, s3, cfg.Objects.Bucket, cfg.Objects.Region); err != nil {
			return err
		}
		if err := bucket.AllowOrigins(ctx, cfg.Origins, log); err != nil {
			return err
		}
		ready.Started()
		return nil
	}
	parts := append(consumers(&cfg, events, core, eraser, counts), sweeper.Run)
	return lifecycle.Run(ctx, ready.Watch, server.Run, lifecycle.After(log, setup, parts...))
}

// consumers are the parts that handle events.
func consumers(cfg *Config, events *bus.Bus, core *upload.Core, eraser *upload.Eraser, counts *metrics.Registry) []lifecycle.Part {
	received := func(ctx context.Context) error {
		return events.Consume(ctx, bus.Consumer{
			Name: receivedConsumer, Filters: []string{event.Every(event.NameReceived)},
			Concurrency: cfg.Concurrency, Grace: cfg.Grace, Metrics: counts.Events,
			Handle: intake.Received(core), GiveUp: intake.GiveUp(core),
		})
	}
	erased := func(ctx context.Context) error {
		return events.Consume(ctx, bus.Consumer{
			Name: Name + "-erased", Filters: []string{event.Every(event.NameErased)},
			Concurrency: cfg.Concurrency, Grace: cfg.Grace, Metrics: counts.Events,
			Handle: intake.Erased(eraser),
		})
	}
	return []lifecycle.Part{received, erased}
}
