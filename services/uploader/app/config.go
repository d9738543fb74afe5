package app

import (
	"time"

	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/httpd"
	"sori.internal/shared/logging"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/origin"
)

// Config has the settings of the uploader.
type Config struct {
	Addr          string        `env:"HTTP_ADDR" envDefault:":8001"`
	Grace         time.Duration `env:"SHUTDOWN_GRACE" envDefault:"20s"`
	Concurrency   int           `env:"UPLOAD_CONCURRENCY" envDefault:"16"`
	SweepInterval time.Duration `env:"SWEEP_INTERVAL" envDefault:"10m"`
	SweepAge      time.Duration `env:"SWEEP_AGE" envDefault:"2h"`
	Origins       origin.List   `env:"CORS_ALLOWED_ORIGINS"`
	Logging       logging.Config
	Admin         httpd.AdminConfig
	Bus           bus.Config
	Objects       objectstore.Config
}

// Check implements config.Checker.
func (c *Config) Check() error {
	var rules config.Rules
	rules.Check(c.Concurrency >= 1, "UPLOAD_CONCURRENCY must be at least 1")
	rules.Check(c.SweepInterval > 0, "SWEEP_INTERVAL must be positive")
	rules.Check(c.SweepAge > 0, "SWEEP_AGE must be positive")
	return rules.Err()
}
