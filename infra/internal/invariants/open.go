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
// wait for a dependency that is unavailable. The caller must close the checker.
func Open(settings map[string]string) (c Checker, err error) {
	var cfg struct {
		Bus     bus.Config
		Objects objectstore.Config
	}
	if err := config.Load(config.Map(settings), &cfg); err != nil {
		return c, err
	}
	c.Namespace, c.Bucket = cfg.Bus.Namespace, cfg.Objects.Bucket
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("connect the checker: %w", err), c.Close())
		}
	}()
	if c.S3, err = objectstore.Open(cfg.Objects); err != nil {
		return c, err
	}
	if c.Bus, err = bus.Open(cfg.Bus, "invariants", zerolog.Nop()); err != nil {
		return c, err
	}
	c.closers = append(c.closers, c.Bus.Close)
	nc, err := cfg.Bus.Dial("checker", nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait))
	if err != nil {
		return c, err
	}
	c.closers = append(c.closers, func() error { nc.Close(); return nil })
	if c.JetStream, err = jetstream.New(nc); err != nil {
		return c, err
	}
	if c.DB, err = sqlx.Open("postgres", settings["DATABASE_URL"]); err != nil {
		return c, err
	}
	c.closers = append(c.closers, c.DB.Close)
	return c, nil
}

// Close closes the connections of a checker that Open has returned.
func (c Checker) Close() error {
	var errs []error
	for _, end := range c.closers {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}
