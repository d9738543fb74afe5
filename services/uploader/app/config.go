package app

import (
	"errors"
	"fmt"
	"time"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/resumable"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/httpd"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/logging"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/origin"
	"sori.internal/shared/principal"
	"sori.internal/shared/source"
)

// Config has the settings of the uploader.
type Config struct {
	lifecycle.ShutdownConfig

	Addr          string        `env:"HTTP_ADDR" envDefault:":8001"`
	Concurrency   int           `env:"UPLOAD_CONCURRENCY" envDefault:"16"`
	SweepInterval time.Duration `env:"SWEEP_INTERVAL" envDefault:"10m"`
	SweepAge      time.Duration `env:"SWEEP_AGE" envDefault:"2h"`
	MaxBytes      int64         `env:"MAX_DIRECT_UPLOAD_BYTES" envDefault:"5368709120"`
	MaxOpen       int           `env:"MAX_UNFINISHED_UPLOADS" envDefault:"1000"`
	MaxWriters    int           `env:"MAX_RESUMABLE_WRITERS" envDefault:"64"`
	PartMemory    int64         `env:"RESUMABLE_MEMORY" envDefault:"41943040"`
	Expiry        time.Duration `env:"UPLOAD_EXPIRY" envDefault:"24h"`
	LinkValid     time.Duration `env:"UPLOAD_URL_VALID" envDefault:"1h"`
	Origins       origin.List   `env:"CORS_ALLOWED_ORIGINS"`

	FetchConcurrency int            `env:"FETCH_CONCURRENCY" envDefault:"8"`
	FetchTimeout     time.Duration  `env:"FETCH_TIMEOUT" envDefault:"15m"`
	FetchMinRate     int64          `env:"FETCH_MIN_RATE" envDefault:"4096"`
	MaxFetchBytes    int64          `env:"MAX_FETCH_BYTES" envDefault:"104857600"`
	FetchAllowed     source.Allowed `env:"FETCH_ALLOWED"`

	Principal principal.Config // its secret is also the base of the key with which sources are encrypted

	Logging logging.Config
	Admin   httpd.AdminConfig
	Bus     bus.Config
	Objects objectstore.Config
}

// maxConcurrency is the largest number of concurrent handlers. The uploader allocates memory for
// each when it starts.
const maxConcurrency = 10_000

// Check implements config.Checker.
func (c *Config) Check() error {
	var rules config.Rules
	rules.Check(c.Concurrency >= 1 && c.Concurrency <= maxConcurrency, "UPLOAD_CONCURRENCY must be from 1 to 10000")
	rules.Check(c.SweepInterval > 0, "SWEEP_INTERVAL must be positive")
	rules.Check(c.SweepAge > 0, "SWEEP_AGE must be positive")
	rules.Check(c.MaxBytes >= 1, "MAX_DIRECT_UPLOAD_BYTES must be at least 1")
	rules.Check(c.MaxOpen >= 1, "MAX_UNFINISHED_UPLOADS must be at least 1")
	rules.Check(c.MaxWriters >= 1, "MAX_RESUMABLE_WRITERS must be at least 1")
	rules.Check(c.PartMemory >= 1, "RESUMABLE_MEMORY must be at least 1")
	rules.Check(c.LinkValid >= time.Second && c.LinkValid <= maxLinkValid, "UPLOAD_URL_VALID must be between 1s and 168h")
	rules.Check(c.Expiry >= c.LinkValid, "UPLOAD_EXPIRY must not be shorter than UPLOAD_URL_VALID")
	rules.Check(c.Expiry <= c.Bus.JobsMaxAge, "UPLOAD_EXPIRY must not be longer than JOBS_MAX_AGE, after which NATS removes the record of an upload")
	rules.Check(c.FetchConcurrency >= 1 && c.FetchConcurrency <= maxConcurrency, "FETCH_CONCURRENCY must be from 1 to 10000")
	rules.Check(c.FetchTimeout > 0, "FETCH_TIMEOUT must be positive")
	rules.Check(c.FetchMinRate >= 0, "FETCH_MIN_RATE must not be negative")
	rules.Check(c.MaxFetchBytes >= 1 && c.MaxFetchBytes <= objects.MaxStream,
		fmt.Sprintf("MAX_FETCH_BYTES must be from 1 to %d, the largest object that can be stored", int64(objects.MaxStream)))
	return errors.Join(rules.Err(), c.FetchAllowed.CheckBucket(c.Objects.Bucket))
}

// maxLinkValid is the longest validity of a presigned URL that S3 allows.
const maxLinkValid = 7 * 24 * time.Hour

// ownerFetches returns the largest number of concurrent fetches of one owner in a replica. It
// leaves a quarter of FetchConcurrency, but at least one fetch, to other owners. If
// FetchConcurrency is 1, each owner may use it.
func (c *Config) ownerFetches() int {
	const part = 4
	return max(1, c.FetchConcurrency-max(1, c.FetchConcurrency/part))
}

// resumableLimits returns the limits of resumable uploads.
func (c *Config) resumableLimits() resumable.Limits {
	return resumable.Limits{Writers: c.MaxWriters, Memory: c.PartMemory}
}

// directOptions returns the settings of direct uploads.
func (c *Config) directOptions() direct.Options {
	return direct.Options{MaxBytes: c.MaxBytes, MaxOpen: c.MaxOpen, Expiry: c.Expiry, LinkValid: c.LinkValid}
}
