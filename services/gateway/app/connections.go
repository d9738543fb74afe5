package app

import (
	"errors"
	"io"

	"github.com/jmoiron/sqlx"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/objects"
	"sori.internal/services/gateway/internal/proxy"
	"sori.internal/services/gateway/internal/store"
	"sori.internal/shared/bus"
	"sori.internal/shared/postgres"
)

// connections are the clients of everything outside of the process. Making these clients opens no
// connection.
type connections struct {
	events     *bus.Bus
	db         *sqlx.DB
	store      *store.Store // store that uses db
	objects    *objects.Objects
	tracker    *proxy.Upstream
	dispatcher *proxy.Upstream
	uploader   *proxy.Upstream
}

// connect makes the connections. Close closes them.
func connect(cfg *Config, log zerolog.Logger) (*connections, error) {
	events, err := bus.Open(cfg.Bus, Name, log)
	if err != nil {
		return nil, err
	}
	db, err := postgres.Open(cfg.Postgres, store.Schema)
	if err != nil {
		return nil, errors.Join(err, events.Close())
	}
	c := &connections{
		events: events, db: db, store: store.New(db),
		tracker:    proxy.NewUpstream(cfg.Tracker, "job service"),
		dispatcher: proxy.NewUpstream(cfg.Dispatcher, "callback service"),
		uploader:   proxy.NewUpstream(cfg.Uploader, "upload service"),
	}
	if c.objects, err = objects.Open(cfg.Objects); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close implements io.Closer.
func (c *connections) Close() error {
	var errs []error
	for _, closer := range []io.Closer{c.uploader, c.dispatcher, c.tracker, c.db, c.events} {
		errs = append(errs, closer.Close())
	}
	return errors.Join(errs...)
}
