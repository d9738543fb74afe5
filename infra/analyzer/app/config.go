package app

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/analyzer/internal/job"
	"sori.internal/shared/buildinfo"
	"sori.internal/shared/config"
	"sori.internal/shared/logging"
)

// Config contains every setting. Load reads the fields with an env tag; the others are for programs that embed the
// server.
type Config struct {
	HTTPAddr          string        `env:"HTTP_ADDR" envDefault:":9000"`           // address on which to listen; unused if Listener is set
	Concurrency       int           `env:"CONCURRENCY" envDefault:"0"`             // recordings measured at the same time; 0: one per processor
	FetchConcurrency  int           `env:"FETCH_CONCURRENCY" envDefault:"32"`      // recordings in temporary storage at the same time
	QueueSize         int           `env:"QUEUE_SIZE" envDefault:"4096"`           // largest number of jobs that are accepted and not yet delivered; further requests get 503
	QueueRetryAfter   time.Duration `env:"QUEUE_RETRY_AFTER" envDefault:"5s"`      // Retry-After of responses when the queue is full
	MaxAudioBytes     int64         `env:"MAX_AUDIO_BYTES" envDefault:"536870912"` // largest size of an audio file, in bytes
	MaxAudioSeconds   float64       `env:"MAX_AUDIO_SECONDS" envDefault:"10800"`   // longest duration of a recording, in seconds; longer recordings fail
	TempDir           string        `env:"TMPDIR"`                                 // folder for files while they are analysed; if empty, the system's
	MaxPitchPoints    int           `env:"MAX_PITCH_POINTS" envDefault:"30000"`    // values of a pitch track; longer recordings get a larger hop
	FetchTimeout      time.Duration `env:"FETCH_TIMEOUT" envDefault:"10m"`         // time limit of one fetch, body included
	FetchAttempts     int           `env:"FETCH_ATTEMPTS" envDefault:"3"`          // attempts of a fetch
	FetchBackoff      time.Duration `env:"FETCH_BACKOFF" envDefault:"200ms"`       // delay before the second attempt, doubled for each further one
	FetchHosts        []string      `env:"FETCH_HOSTS"`                            // host or host:port of the http and https URLs that are fetched; if empty, all
	Decoder           string        `env:"DECODER"`                                // path of the decoder program; if empty, it is built from its source
	DecoderCache      string        `env:"DECODER_CACHE"`                          // folder of the compiled decoder; if empty, in the user's cache folder
	DecoderMemory     int64         `env:"DECODER_MEMORY" envDefault:"268435456"`  // bytes that the decoding of one recording may allocate
	AccessKey         string        `env:"AWS_ACCESS_KEY_ID"`                      // access key for s3:// references
	SecretKey         Secret        `env:"AWS_SECRET_ACCESS_KEY"`                  // secret key for s3:// references
	Region            string        `env:"AWS_REGION" envDefault:"us-east-1"`      // region of the buckets in s3:// references
	S3Endpoint        string        `env:"S3_ENDPOINT"`                            // host:port or URL of the S3 server; if empty, AWS
	WebhookAttempts   int           `env:"WEBHOOK_ATTEMPTS" envDefault:"8"`        // attempts to deliver the callback of an outcome
	WebhookBackoff    time.Duration `env:"WEBHOOK_BACKOFF" envDefault:"250ms"`     // delay before the second attempt, doubled for each further one
	WebhookMaxBackoff time.Duration `env:"WEBHOOK_MAX_BACKOFF" envDefault:"30s"`   // longest delay, even if a receiver's Retry-After is longer
	WebhookTimeout    time.Duration `env:"WEBHOOK_TIMEOUT" envDefault:"10s"`       // time limit of one attempt
	WebhookParallel   int           `env:"WEBHOOK_CONCURRENCY" envDefault:"64"`    // callbacks that are sent at the same time
	RetainJobs        int           `env:"RETAIN_JOBS" envDefault:"10000"`         // finished jobs that the status route knows
	RetainBytes       int           `env:"RETAIN_BYTES" envDefault:"67108864"`     // bytes of the results of finished jobs that are kept
	RetainFor         time.Duration `env:"RETAIN_FOR" envDefault:"1h"`             // how long a finished job is kept
	ShutdownTimeout   time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"10s"`      // how long unfinished jobs may continue after a stop
	BehaviourAPI      bool          `env:"BEHAVIOUR_API" envDefault:"false"`       // enables PUT /behaviour for everybody who can reach the server
	LogLevel          string        `env:"LOG_LEVEL" envDefault:"info"`            // debug, info, warn, error
	LogFormat         string        `env:"LOG_FORMAT" envDefault:"json"`           // json or console
	Behaviour         Behaviour     `envPrefix:"BEHAVIOUR_"`                       // behaviour at the start; see Behaviour

	Worker   string       `env:"-"` // path of a program whose main calls RunChild; if empty, this program
	Listener net.Listener `env:"-"` // replaces HTTPAddr; the server closes it
	LogOut   io.Writer    `env:"-"` // nil discards the log
}

// Behaviour makes the server misbehave in chosen ways. The zero value is a correct server. Its settings are named
// BEHAVIOUR_DELAY, BEHAVIOUR_INSTANT and so on.
type Behaviour = job.Behaviour

// Duration is a time.Duration that is written as a text such as "1.5s".
type Duration = job.Duration

// Secret prints as asterisks.
type Secret = config.Secret

// Load reads the settings through a look-up function such as os.LookupEnv. It reports all problems together.
func Load(lookup func(string) (string, bool)) (Config, error) {
	var cfg Config
	if err := config.Load(lookup, &cfg); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// Default returns the settings of an empty environment, for programs that embed the server.
func Default() Config {
	cfg, err := Load(func(string) (string, bool) { return "", false })
	if err != nil {
		panic(err) // the defaults above do not parse: the first test would fail
	}
	return cfg
}

// check returns an error for the first setting with an impossible value.
func (c Config) check() error {
	for _, n := range []struct {
		name string
		ok   bool
	}{
		{"CONCURRENCY", c.Concurrency >= 0},
		{"FETCH_CONCURRENCY", c.FetchConcurrency > 0},
		{"QUEUE_SIZE", c.QueueSize > 0},
		{"MAX_AUDIO_BYTES", c.MaxAudioBytes > 0},
		{"MAX_AUDIO_SECONDS", c.MaxAudioSeconds > 0},
		{"DECODER_MEMORY", c.DecoderMemory >= 64<<20 && c.DecoderMemory <= 2<<30},
		{"MAX_PITCH_POINTS", c.MaxPitchPoints > 0},
		{"FETCH_TIMEOUT", c.FetchTimeout > 0},
		{"FETCH_ATTEMPTS", c.FetchAttempts > 0},
		{"WEBHOOK_ATTEMPTS", c.WebhookAttempts > 0},
		{"WEBHOOK_BACKOFF", c.WebhookBackoff > 0},
		{"WEBHOOK_MAX_BACKOFF", c.WebhookMaxBackoff > 0},
		{"WEBHOOK_TIMEOUT", c.WebhookTimeout > 0},
		{"WEBHOOK_CONCURRENCY", c.WebhookParallel > 0},
		{"RETAIN_JOBS", c.RetainJobs > 0},
		{"RETAIN_BYTES", c.RetainBytes > 0},
		{"RETAIN_FOR", c.RetainFor > 0},
	} {
		if !n.ok {
			return fmt.Errorf("check settings: %w: %s is out of range", ErrConfig, n.name)
		}
	}
	return nil
}

// logger builds the root logger.
func (c Config) logger() (zerolog.Logger, error) {
	out := c.LogOut
	if out == nil {
		out = io.Discard
	}
	return logging.New(logging.Config{Level: c.LogLevel, Format: c.LogFormat}, "analyzer", buildinfo.Version(), out)
}

func (c Config) concurrency() int {
	if c.Concurrency > 0 {
		return c.Concurrency
	}
	return runtime.GOMAXPROCS(0)
}
