// Package app assembles the tracker and runs it.
package app

import (
	"context"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/minio/minio-go/v7"
	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/api"
	"sori.internal/services/tracker/internal/command"
	"sori.internal/services/tracker/internal/live"
	"sori.internal/services/tracker/internal/objects"
	"sori.internal/services/tracker/internal/projection"
	"sori.internal/services/tracker/internal/query"
	"sori.internal/services/tracker/internal/store"
	"sori.internal/services/tracker/internal/watch"
	"sori.internal/shared/buildinfo"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/joblog"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/metrics"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
	"sori.internal/shared/staging"
)

// Name is the service's name, in logs and in ce-source.
const Name = "tracker"

// Run runs the tracker until ctx ends.
func Run(ctx context.Context, p lifecycle.Process) (err error) {
	var cfg Config
	log, err := p.Configure(&cfg, &cfg.Logging, Name)
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
	ready := health.New(map[string]health.Check{"bus": events.Ready, "database": postgres.Ping(db)}, log)
	core := assemble(&cfg, connections{events: events, db: db, s3: s3}, counts, log)
	server := core.server(&cfg, p, ready, counts, log)
	admin := &httpd.Admin{Config: cfg.Admin, Health: ready, Metrics: counts, Listening: p.AdminListening, Log: log}

	return lifecycle.Run(ctx, ready.Watch, core.api.Run, admin.Run,
		lifecycle.While(server.Run, core.live.DeliverTo(core.hub)), // live updates continue until the server has ended
		lifecycle.AfterSetup(log, setup(events, db, cfg.Postgres, migrations, ready),
			core.consumeEvents(&cfg, events, counts), core.consumeDeletions(&cfg, events, counts), core.sweeper.Run, core.retention.Run))
}

// setup creates the NATS streams, applies the migrations, and makes the tracker ready.
func setup(events *bus.Bus, db *sqlx.DB, cfg postgres.Config, migrations fs.FS, ready *health.Health) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := events.Ensure(ctx, Resources().Streams...); err != nil {
			return err
		}
		if err := postgres.Prepare(ctx, db, cfg, store.Schema, migrations); err != nil {
			return err
		}
		ready.Started()
		return nil
	}
}

// connections has the clients of NATS, Postgres and S3.
type connections struct {
	events *bus.Bus
	db     *sqlx.DB
	s3     *minio.Client
}

// core is the tracker without its consumers and its HTTP server.
type core struct {
	live          *live.Live
	hub           *watch.Hub
	projector     *projection.Projector
	eraser        *command.Eraser
	unprojectable *command.Unprojectable
	sweeper       *command.Sweeper
	retention     *command.RetentionSweeper
	api           *api.API
}

func assemble(cfg *Config, c connections, counts *metrics.Registry, log zerolog.Logger) *core {
	rows, updates := store.New(c.db), live.New(c.events, log)
	jobs := joblog.New(c.events)
	reader := query.NewReader(rows, jobs)
	hub := watch.NewHub(updates, reader)
	projector := projection.New(projection.Dependencies{
		Rows: rows, Staging: staging.New(c.events), Logs: jobs, Notifier: updates.NotifierTo(hub), CountEnd: countEnds(counts),
	})
	decider := command.NewDecider(jobs, projector)
	eraser := command.NewEraser(decider, rows)
	return &core{
		live: updates, hub: hub, projector: projector, eraser: eraser,
		unprojectable: command.NewUnprojectable(decider, eraser),
		sweeper: command.NewSweeper(decider, rows, jobs, command.SweeperOptions{
			Deadlines: cfg.deadlines(), Interval: cfg.SweepInterval, Log: log,
		}),
		retention: command.NewRetentionSweeper(eraser, rows, logUsage(c.events), command.RetentionOptions{
			Retention: cfg.retention(),
			LogMaxAge: cfg.Bus.JobsMaxAge, Interval: cfg.SweepInterval, Log: log,
		}),
		api: api.New(api.Dependencies{
			Reader: reader, Sizes: rows, Lister: rows, Usages: rows, Links: objects.New(c.s3), Hub: hub,
			Controller: command.NewControl(decider, rows, logUsage(c.events), cfg.RetryInterval), Eraser: eraser,
			Verifier: principal.NewVerifier(cfg.Principal, time.Now), Tickets: principal.NewTickets(cfg.Principal, time.Now),
		}, api.Options{
			Language: cfg.Language, Retention: cfg.retention(), Heartbeat: cfg.Heartbeat, Hold: cfg.Grace * 7 / 10, Drain: cfg.Grace / 10,
			Memory: cfg.ResultMemory, LogMaxAge: cfg.Bus.JobsMaxAge,
		}),
	}
}

// logUsage returns a function that reads the used fraction of the stream of logs.
func logUsage(events *bus.Bus) command.LogUsage {
	return func(ctx context.Context) (float64, error) {
		info, err := events.Stream(event.Jobs()).Info(ctx)
		return info.Used, err
	}
}

// server makes the HTTP server with all routes.
func (c *core) server(
	cfg *Config, p lifecycle.Process, ready *health.Health, counts *metrics.Registry, log zerolog.Logger,
) *httpd.Server {
	mux := httpd.NewMux(httpd.Info{
		Name: "sori-" + Name, Version: buildinfo.Version(), Links: map[string]string{"health": "/readyz"},
	}, ready, counts, log)
	c.api.Routes(mux)
	counts.Gauge("sori_sse_streams", "progress streams that are open", c.api.Streams)
	return &httpd.Server{Addr: cfg.Addr, Grace: cfg.Grace, Listening: p.Listening, Log: log, Handler: mux}
}
