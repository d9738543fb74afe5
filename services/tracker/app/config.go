package app

import (
	"errors"
	"time"

	"sori.internal/shared/bus"
	"sori.internal/shared/locale"
	"sori.internal/shared/logging"
	"sori.internal/shared/postgres"
)

// Config is every setting of the tracker.
type Config struct {
	Addr      string          `env:"HTTP_ADDR" envDefault:":8003"`
	Grace     time.Duration   `env:"SHUTDOWN_GRACE" envDefault:"20s"`
	Language  locale.Language `env:"DEFAULT_LANGUAGE" envDefault:"ko"`
	Heartbeat time.Duration   `env:"SSE_HEARTBEAT" envDefault:"15s"`
	BatchSize int             `env:"BATCH_SIZE" envDefault:"512"`
	Logging   logging.Config
	Bus       bus.Config
	Postgres  postgres.Config
}

// Check implements config.Checker.
func (c *Config) Check() error {
	var broken []error
	if c.Heartbeat <= 0 {
		broken = append(broken, errors.New("SSE_HEARTBEAT must be positive"))
	}
	if c.BatchSize < 1 {
		broken = append(broken, errors.New("BATCH_SIZE must be at least 1"))
	}
	if c.Postgres.MaxConnections < 2 {
		broken = append(broken, errors.New("DATABASE_MAX_CONNECTIONS must be at least 2"))
	}
	return errors.Join(broken...)
}
