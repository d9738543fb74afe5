package invariants

import (
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // the database/sql driver
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/objectstore"
)

// reconnectWait is the delay between attempts to reconnect. It is short, because the checked installation is often restarted.
const reconnectWait = 100 * time.Millisecond

// Open returns a checker of the installation that the settings of its services describe. It does not
// wait for a dependency that is unavailable. The returned function closes the connections.
func Open(settings map[string]string) (c Checker, closeAll func() error, err error) {
	var cfg struct {
		Bus     bus.Config
		Objects objectstore.Config
	}
	if err := config.Load(config.Map(settings), &cfg); err != nil {
		return c, nil, err
	}
	c.Namespace, c.Bucket = cfg.Bus.Namespace, cfg.Objects.Bucket
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for _, end := range closers {
			errs = append(errs, end())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("connect the checker: %w", err), closeAll())
		}
	}()
	if c.S3, err = objectstore.Open(cfg.Objects); err != nil {
		return c, nil, err
	}
	if c.Bus, err = bus.Open(cfg.Bus, "invariants", zerolog.Nop()); err != nil {
		return c, nil, err
	}
	closers = append(closers, c.Bus.Close)
	nc, err := cfg.Bus.Dial("checker", nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait))
	if err != nil {
		return c, nil, err
	}
	closers = append(closers, func() error { nc.Close(); return nil })
	if c.JetStream, err = jetstream.New(nc); err != nil {
		return c, nil, err
	}
	if c.DB, err = sqlx.Open("postgres", settings["DATABASE_URL"]); err != nil {
		return c, nil, err
	}
	closers = append(closers, c.DB.Close)
	return c, closeAll, nil
}
