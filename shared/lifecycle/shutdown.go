package lifecycle

import (
	"errors"
	"time"
)

// ShutdownConfig has the settings of the shutdown of a service.
type ShutdownConfig struct {
	Grace time.Duration `env:"SHUTDOWN_GRACE" envDefault:"20s"` // how long work that is under way may continue
}

// Check implements config.Checker.
func (c *ShutdownConfig) Check() error {
	if c.Grace < 0 {
		return errors.New("SHUTDOWN_GRACE must not be negative")
	}
	return nil
}
