// Package logging builds the root logger of a process and defines the field names of its lines. All
// services use the same names, so that one search finds the same field in all of them.
package logging

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// The names of the fields. A value for which a name is defined here is never logged under another
// name.
const (
	Service   = "service"
	Version   = "version"
	JobID     = "job_id"
	TokenID   = "token_id"
	Attempt   = "attempt"
	Event     = "event"
	EventID   = "event_id"
	Consumer  = "consumer"
	Sequence  = "sequence"
	Delivery  = "delivery"
	Outcome   = "outcome"
	Kind      = "kind"
	Code      = "code"
	Took      = "took_ms"
	Wait      = "wait_ms"
	Trace     = "trace_id"
	RequestID = "request_id"
	Method    = "method"
	Path      = "path"
	Status    = "status"
	Bytes     = "bytes"
	Count     = "count"
	Address   = "address"
	Owner     = "owner"  // the owner that makes the request (package principal)
	KeyID     = "key_id" // id of an API key

	Dependency = "dependency" // dependency of the service, as /readyz names it

	Source = "source_job_id" // the job whose analysis another job uses
)

// apiKey matches an API key, which ends with its secret.
var apiKey = regexp.MustCompile(`(sori_[0-9a-f]{16}_)[0-9a-f]{64}`)

// maxPath is the length of the longest path of a request in a log, in bytes. Only a search for a
// long name has a longer path.
const maxPath = 512

// SafePath returns the path of a request in a form that may be logged. It removes the secret of an
// API key that a client sent in the place of an id. It truncates the path to 512 bytes, since any
// client could otherwise fill a log with its own text.
func SafePath(path string) string {
	path = apiKey.ReplaceAllString(path, "${1}*")
	if len(path) <= maxPath {
		return path
	}
	return strings.ToValidUTF8(path[:maxPath], "") + "…"
}

// Config configures the log of a service.
type Config struct {
	Level  string `env:"LOG_LEVEL" envDefault:"info"`
	Format string `env:"LOG_FORMAT" envDefault:"auto"`
}

// Check implements config.Checker.
func (c *Config) Check() error {
	_, err := c.level()
	switch c.Format {
	case "json", "console", "auto":
		return err
	default:
		return errors.Join(err, fmt.Errorf("LOG_FORMAT: %q is none of json, console, auto", c.Format))
	}
}

func (c *Config) level() (zerolog.Level, error) {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		return level, fmt.Errorf("LOG_LEVEL: %q is none of trace, debug, info, warn, error", c.Level)
	}
	return level, nil
}

// New returns the root logger. It writes JSON lines to w, or lines for human readers if the format
// is "console", or if it is "auto" and w is a terminal.
func New(cfg Config, service, version string, w io.Writer) (zerolog.Logger, error) {
	if err := cfg.Check(); err != nil {
		return zerolog.Nop(), err
	}
	level, err := cfg.level()
	if err != nil {
		return zerolog.Nop(), err
	}
	if cfg.Format == "console" || cfg.Format == "auto" && isTerminal(w) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000"}
	}
	return zerolog.New(w).Level(level).With().
		Str(Service, service).Str(Version, version).Logger().Hook(stamp{}), nil
}

// timeFormat is RFC 3339 in UTC with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// stamp adds the time to every line. zerolog's own timestamp would get its format from a global
// variable.
type stamp struct{}

// Run implements zerolog.Hook.
func (stamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format(timeFormat))
}

// Millis returns a duration in milliseconds, as in the field Took.
func Millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
