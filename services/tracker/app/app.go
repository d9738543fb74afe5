// Package app assembles the tracker and runs it.
package app

import (
	"context"
	"io/fs"

	"github.com/jmoiron/sqlx"

	"sori.internal/services/tracker/internal/api"
	"sori.internal/services/tracker/internal/intake"
	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/live"
	"sori.internal/services/tracker/internal/objects"
	"sori.internal/services/tracker/internal/store"
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
	"sori.internal/shared/postgres"
)

// Name is the service's name, in logs and in ce-source.
const Name = "tracker"

// copies is how many copies' batches may be under way at once.
const copies = 16

// tokens is how many deleted tokens are seen to at once.
const tokens = 4

// Run runs the tracker until ctx ends.
func Run(ctx context.Context, p lifecycle.Process) (err error) {
	var cfg Config
	if err := config.Load(p.Lookup, &cfg); err != nil {
		return err
	}
	log, err := logging.New(cfg.Logging, Name, buildinfo.Version(), p.Stderr)
	if err != nil {
		return err
	}
	migrations, err := store.Migrations()
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
	s3, err := objectstore.OpenPublic(cfg.Objects)
	if err != nil {
		return err
	}

	counts := metrics.New()
	ready := health.New(map[string]health.Check{"bus": events.Ready, "database": postgres.Ping(db)})
	rows, broadcasts := store.New(db), live.New(events, log)
	projector := job.NewProjector(rows, events, events, broadcasts)
	reader := job.NewReader(rows, broadcasts)
	hub := job.NewHub(broadcasts, reader)
	control := job.NewControl(events, projector)
	eraser := job.NewEraser(projector, rows)
	sweeper := job.NewSweeper(rows, control, cfg.deadlines(), cfg.SweepInterval, log)

	mux := httpd.NewMux(httpd.Info{
		Name: "sori-" + Name, Version: buildinfo.Version(), Links: map[string]string{"health": "/readyz"},
	}, ready, counts, log)
	viewers := api.New(reader, rows, objects.New(s3), hub, control, eraser, api.Options{
		Language: cfg.Language, Heartbeat: cfg.Heartbeat, Hold: cfg.Grace * 7 / 10, Goodbye: cfg.Grace / 10,
	})
	viewers.Routes(mux)
	counts.Gauge("sori_sse_streams", "progress streams that are open", viewers.Streams)
	server := &httpd.Server{Addr: cfg.Addr, Grace: cfg.Grace, Listening: p.Listening, Log: log, Handler: mux}

	return lifecycle.Run(ctx, ready.Watch, viewers.Run,
		lifecycle.While(server.Run, broadcasts.Hear(hub)), // streams outlast the stop
		lifecycle.After(log, setup(events, db, migrations, ready), projection(events, projector, cfg, counts),
			deletions(events, eraser, cfg, counts), sweeper.Run))
}

// setup prepares what the tracker works on.
func setup(events *bus.Bus, db *sqlx.DB, migrations fs.FS, ready *health.Health) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := events.Ensure(ctx, event.Jobs(), event.Tokens(), event.Dead(), event.Staging()); err != nil {
			return err
		}
		if err := postgres.Migrate(ctx, db, store.Schema, migrations); err != nil {
			return err
		}
		ready.Started()
		return nil
	}
}

// projection consumes every event. It hears the whole stream of jobs, which is
// event.AllJobs and event.AllProgress, and therefore names no filter: with
// filters that so many subjects match, the server looks through all of them for
// each message, and is ten times slower.
func projection(events *bus.Bus, core *job.Projector, cfg Config, counts *metrics.Registry) lifecycle.Part {
	return func(ctx context.Context) error {
		return events.ConsumeBatches(ctx, bus.Batches{
			Consumer: bus.Consumer{
				Name: "tracker-projection", MaxPending: copies * cfg.BatchSize,
				Grace: cfg.Grace, Metrics: counts.Events, GiveUp: intake.GiveUp(core),
			},
			Size: cfg.BatchSize, Handle: intake.Projection(core),
		})
	}
}

// deletions consumes what is said of tokens.
func deletions(events *bus.Bus, core *job.Eraser, cfg Config, counts *metrics.Registry) lifecycle.Part {
	return func(ctx context.Context) error {
		return events.Consume(ctx, bus.Consumer{
			Name: "tracker-deleted", Stream: event.Tokens(), Filters: []string{event.Every(event.NameDeleted)},
			Concurrency: tokens, Grace: cfg.Grace, Metrics: counts.Events, Handle: intake.TokenDeleted(core),
		})
	}
}
