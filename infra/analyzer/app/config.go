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
	HTTPAddr          string        `env:"HTTP_ADDR" envDefault:":9000"`           // address on which the server listens; unused if Listener is set
	Concurrency       int           `env:"CONCURRENCY" envDefault:"0"`             // largest number of recordings that are measured at the same time; 0: one per processor
	FetchConcurrency  int           `env:"FETCH_CONCURRENCY" envDefault:"32"`      // largest number of recordings in temporary storage at the same time
	QueueSize         int           `env:"QUEUE_SIZE" envDefault:"4096"`           // largest number of jobs that are accepted and not yet delivered; further requests get 503
	QueueRetryAfter   time.Duration `env:"QUEUE_RETRY_AFTER" envDefault:"5s"`      // value of the header Retry-After when the queue is full
	MaxAudioBytes     int64         `env:"MAX_AUDIO_BYTES" envDefault:"536870912"` // largest size of an audio file, in bytes
	MaxAudioSeconds   float64       `env:"MAX_AUDIO_SECONDS" envDefault:"10800"`   // longest duration of a recording, in seconds; longer recordings fail
	TempDir           string        `env:"TMPDIR"`                                 // folder of temporary files; if empty, the system's temporary folder
	MaxPitchPoints    int           `env:"MAX_PITCH_POINTS" envDefault:"30000"`    // largest number of values of a pitch track; longer recordings get a larger hop
	FetchTimeout      time.Duration `env:"FETCH_TIMEOUT" envDefault:"10m"`         // time limit of one attempt to fetch a file, body included
	FetchAttempts     int           `env:"FETCH_ATTEMPTS" envDefault:"3"`          // largest number of attempts to fetch a file
	FetchBackoff      time.Duration `env:"FETCH_BACKOFF" envDefault:"200ms"`       // delay before the second attempt, doubled before each further attempt
	FetchHosts        []string      `env:"FETCH_HOSTS"`                            // allowed hosts (host or host:port) of http and https URLs; if empty, all hosts
	Decoder           string        `env:"DECODER"`                                // path of the decoder program; if empty, it is built from its source
	DecoderCache      string        `env:"DECODER_CACHE"`                          // folder of the compiled decoder; if empty, sori/decoder in the user's cache folder
	DecoderMemory     int64         `env:"DECODER_MEMORY" envDefault:"268435456"`  // largest memory of the decoder for one recording, in bytes
	AccessKey         string        `env:"AWS_ACCESS_KEY_ID"`                      // access key for s3:// references
	SecretKey         Secret        `env:"AWS_SECRET_ACCESS_KEY"`                  // secret key for s3:// references
	Region            string        `env:"AWS_REGION" envDefault:"us-east-1"`      // region of the buckets in s3:// references
	S3Endpoint        string        `env:"S3_ENDPOINT"`                            // host:port or URL of the S3 server; if empty, AWS
	WebhookAttempts   int           `env:"WEBHOOK_ATTEMPTS" envDefault:"8"`        // largest number of attempts to deliver the callback of an outcome
	WebhookBackoff    time.Duration `env:"WEBHOOK_BACKOFF" envDefault:"250ms"`     // delay before the second attempt, doubled before each further attempt
	WebhookMaxBackoff time.Duration `env:"WEBHOOK_MAX_BACKOFF" envDefault:"30s"`   // longest delay between attempts, even if a receiver's Retry-After is longer
	WebhookTimeout    time.Duration `env:"WEBHOOK_TIMEOUT" envDefault:"10s"`       // time limit of one attempt to deliver a callback
	WebhookParallel   int           `env:"WEBHOOK_CONCURRENCY" envDefault:"64"`    // largest number of callbacks that are sent at the same time
	RetainJobs        int           `env:"RETAIN_JOBS" envDefault:"10000"`         // largest number of finished jobs that are kept for the status route
	RetainBytes       int           `env:"RETAIN_BYTES" envDefault:"67108864"`     // largest total size of the results of kept jobs, in bytes
	RetainFor         time.Duration `env:"RETAIN_FOR" envDefault:"1h"`             // longest time that a finished job is kept
	ShutdownTimeout   time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"10s"`      // how long open requests, and then unfinished jobs, may continue after a stop
	BehaviourAPI      bool          `env:"BEHAVIOUR_API" envDefault:"false"`       // if true, everybody may change the behaviour with PUT /behaviour
	LogLevel          string        `env:"LOG_LEVEL" envDefault:"info"`            // lowest level that is logged: debug, info, warn or error
	LogFormat         string        `env:"LOG_FORMAT" envDefault:"json"`           // json or console
	Behaviour         Behaviour     `envPrefix:"BEHAVIOUR_"`                       // behaviour until Behave or PUT /behaviour replaces it

	Worker   string       `env:"-"` // path of a worker program, whose main calls RunChild; if empty, the path of this program
	Listener net.Listener `env:"-"` // used instead of a new listener on HTTPAddr; the server closes it
	LogOut   io.Writer    `env:"-"` // destination of the log; if nil, the log is discarded
}

// Behaviour makes the server misbehave in chosen ways. The zero value is a correct server. The environment variables of
// its fields are BEHAVIOUR_DELAY, BEHAVIOUR_INSTANT and so on.
type Behaviour = job.Behaviour

// Duration is a time.Duration that is written as a text such as "1.5s".
type Duration = job.Duration

// Secret prints as asterisks.
type Secret = config.Secret

// Load reads the settings through a look-up function such as os.LookupEnv. Its error contains all problems, not only
// the first.
func Load(lookup func(string) (string, bool)) (Config, error) {
	var cfg Config
	if err := config.Load(lookup, &cfg); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// Default returns the settings that Load reads from an empty environment, for programs that embed the server.
func Default() Config {
	cfg, err := Load(func(string) (string, bool) { return "", false })
	if err != nil {
		panic(err) // the default values in the tags of Config are wrong, which every test would show
	}
	return cfg
}

// check returns an error for the first setting that is out of range.
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
