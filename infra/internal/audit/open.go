package audit

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // the database/sql driver
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/objectstore"
)

// reconnectWait is short: what keeps the books away is restarted all the time.
const reconnectWait = 100 * time.Millisecond

// Open opens the books of a fleet, given what it stands on and the settings of its services that differ from the default. It
// does not wait for what is away. The returned function closes them.
func Open(deps stack.Endpoints, settings map[string]string) (b Books, closeAll func() error, err error) {
	vars := map[string]string{
		"NATS_URL": deps.NATSURL, "AWS_ACCESS_KEY_ID": deps.S3AccessKey, "AWS_SECRET_ACCESS_KEY": deps.S3SecretKey,
		"AWS_REGION": deps.S3Region, "S3_ENDPOINT": deps.S3Endpoint, "S3_BUCKET_NAME": fleet.Bucket,
	}
	maps.Copy(vars, settings)
	var cfg struct {
		Bus     bus.Config
		Objects objectstore.Config
	}
	if err := config.Load(config.Map(vars), &cfg); err != nil {
		return b, nil, err
	}
	b.Namespace, b.Bucket = cfg.Bus.Namespace, cfg.Objects.Bucket
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the books: %w", err), closeAll())
		}
	}()
	if b.S3, err = objectstore.Open(cfg.Objects); err != nil {
		return b, nil, err
	}
	if b.Bus, err = bus.Open(cfg.Bus, "audit", zerolog.Nop()); err != nil {
		return b, nil, err
	}
	closers = append(closers, b.Bus.Close)
	nc, err := nats.Connect(deps.NATSURL, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait))
	if err != nil {
		return b, nil, err
	}
	closers = append(closers, func() error { nc.Close(); return nil })
	if b.JetStream, err = jetstream.New(nc); err != nil {
		return b, nil, err
	}
	if b.DB, err = sqlx.Open("postgres", deps.DatabaseURL); err != nil {
		return b, nil, err
	}
	closers = append(closers, b.DB.Close)

	return b, closeAll, nil
}
