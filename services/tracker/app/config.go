package app

import (
	"time"

	"sori.internal/services/tracker/internal/command"
	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/httpd"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/locale"
	"sori.internal/shared/logging"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
)

// Config has the settings of the tracker.
type Config struct {
	lifecycle.ShutdownConfig

	Addr      string          `env:"HTTP_ADDR" envDefault:":8003"`
	Language  locale.Language `env:"DEFAULT_LANGUAGE" envDefault:"ko"`
	Heartbeat time.Duration   `env:"SSE_HEARTBEAT" envDefault:"15s"`
	BatchSize int             `env:"BATCH_SIZE" envDefault:"512"`

	ResultMemory int64 `env:"RESULT_MEMORY" envDefault:"268435456"`

	DispatchDeadline time.Duration `env:"DISPATCH_DEADLINE" envDefault:"1h"`
	AnalysisFactor   float64       `env:"ANALYSIS_DEADLINE_FACTOR" envDefault:"10"`
	AnalysisMin      time.Duration `env:"ANALYSIS_DEADLINE_MIN" envDefault:"10m"`
	AnalysisMax      time.Duration `env:"ANALYSIS_DEADLINE_MAX" envDefault:"2h"`
	SweepInterval    time.Duration `env:"DEADLINE_SWEEP_INTERVAL" envDefault:"15s"`
	RetryInterval    time.Duration `env:"RETRY_INTERVAL" envDefault:"1m"`

	ResultRetention time.Duration `env:"RESULT_RETENTION"`
	AudioRetention  time.Duration `env:"AUDIO_RETENTION"`

	Logging  logging.Config
	Admin    httpd.AdminConfig
	Bus      bus.Config
	Postgres postgres.Config
	Objects  objectstore.Config

	Principal principal.Config
}

// minResultMemory is the smallest allowed RESULT_MEMORY, in bytes.
const minResultMemory = 1 << 20

// maxBatchSize is the largest BATCH_SIZE. The tracker allocates memory for a batch when it starts,
// and records a batch in one transaction.
const maxBatchSize = 10_000

// Check implements config.Checker.
func (c *Config) Check() error {
	var rules config.Rules
	rules.Check(c.Heartbeat > 0, "SSE_HEARTBEAT must be positive")
	rules.Check(c.BatchSize >= 1 && c.BatchSize <= maxBatchSize, "BATCH_SIZE must be from 1 to 10000")
	rules.Check(c.DispatchDeadline > 0, "DISPATCH_DEADLINE must be positive")
	rules.Check(c.AnalysisFactor > 0, "ANALYSIS_DEADLINE_FACTOR must be positive")
	rules.Check(c.AnalysisMin > 0 && c.AnalysisMin <= c.AnalysisMax, "ANALYSIS_DEADLINE_MIN must be positive and at most ANALYSIS_DEADLINE_MAX")
	// The deadlines apply to the job's log: without it nothing would end the job.
	rules.Check(c.Bus.JobsMaxAge > max(c.DispatchDeadline, c.AnalysisMax),
		"JOBS_MAX_AGE must be longer than DISPATCH_DEADLINE and ANALYSIS_DEADLINE_MAX")
	rules.Check(c.ResultMemory >= minResultMemory, "RESULT_MEMORY must be at least 1048576")
	rules.Check(c.RetryInterval >= 0, "RETRY_INTERVAL must not be negative")
	rules.Check(c.SweepInterval > 0, "DEADLINE_SWEEP_INTERVAL must be positive")
	rules.Check(c.ResultRetention >= 0, "RESULT_RETENTION must not be negative")
	rules.Check(c.AudioRetention >= 0, "AUDIO_RETENTION must not be negative")
	rules.Check(c.Postgres.MaxConnections >= 2, "DATABASE_MAX_CONNECTIONS must be at least 2")
	return rules.Err()
}

func (c *Config) retention() job.Retention {
	return job.Retention{Result: c.ResultRetention, Audio: c.AudioRetention}
}

func (c *Config) deadlines() command.Deadlines {
	return command.Deadlines{Dispatch: c.DispatchDeadline, Factor: c.AnalysisFactor, Min: c.AnalysisMin, Max: c.AnalysisMax}
}
