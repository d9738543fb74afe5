package app

import (
	"net/url"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/services/dispatcher/internal/analyzerclient"
	"sori.internal/services/dispatcher/internal/api"
	"sori.internal/services/dispatcher/internal/objects"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/httpd"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/locale"
	"sori.internal/shared/logging"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/principal"
)

// Config has the settings of the dispatcher.
type Config struct {
	lifecycle.ShutdownConfig

	Addr            string                   `env:"HTTP_ADDR" envDefault:":8002"`
	Target          url.URL                  `env:"TARGET_SERVER_URL,required"`
	Webhook         url.URL                  `env:"WEBHOOK_URL,required"`
	WebhookSecret   config.Secret            `env:"WEBHOOK_SECRET,required"`
	WebhookRotation config.Secret            `env:"WEBHOOK_SECRET_ROTATION"`
	WebhookValid    time.Duration            `env:"WEBHOOK_URL_VALID" envDefault:"24h"`
	SigningSecrets  config.Secret            `env:"WEBHOOK_SIGNING_SECRETS"`
	MaxWebhookBytes int64                    `env:"MAX_WEBHOOK_BYTES" envDefault:"16777216"`
	Concurrency     int                      `env:"ANALYSIS_CONCURRENCY" envDefault:"32"`
	MaxRunning      int                      `env:"ANALYSIS_MAX_RUNNING" envDefault:"0"`
	RequestTimeout  time.Duration            `env:"ANALYSIS_REQUEST_TIMEOUT" envDefault:"120s"`
	RequestFormat   analyzerclient.Format    `env:"ANALYSIS_REQUEST_FORMAT" envDefault:"form"`
	BreakerFailures int                      `env:"ANALYSIS_BREAKER_FAILURES" envDefault:"5"`
	BreakerDelay    time.Duration            `env:"ANALYSIS_BREAKER_DELAY" envDefault:"10s"`
	URLStyle        objects.Style            `env:"ANALYSIS_URL_STYLE" envDefault:"presigned"`
	URLValid        time.Duration            `env:"ANALYSIS_URL_VALID" envDefault:"1h"`
	StatusURL       analyzerclient.StatusURL `env:"ANALYSIS_STATUS_URL"`
	PollInterval    time.Duration            `env:"ANALYSIS_POLL_INTERVAL" envDefault:"30s"`
	MaxAttempts     int                      `env:"ANALYSIS_MAX_ATTEMPTS" envDefault:"3"`
	AnalysisVersion string                   `env:"ANALYSIS_VERSION"`
	PrincipalSecret config.Secret            `env:"PRINCIPAL_SECRET"`
	DefaultLanguage locale.Language          `env:"DEFAULT_LANGUAGE" envDefault:"ko"`
	Logging         logging.Config
	Admin           httpd.AdminConfig
	Bus             bus.Config
	Objects         objectstore.Config
}

// minSecret is the length of the shortest WEBHOOK_SECRET, in bytes. A key that is shorter than the
// hash weakens an HMAC (RFC 2104, section 3), but 16 bytes still cannot be guessed.
const minSecret = 16

// maxURLValid is the longest validity of a presigned URL that S3 allows.
const maxURLValid = 7 * 24 * time.Hour

// signer returns the settings of the signatures of callback URLs. Both secrets are valid, so that a
// secret can be changed while analyses run, also if replicas are restarted one after the other.
func (c *Config) signer() analysis.SignerOptions {
	secrets := []string{c.WebhookSecret.Reveal()}
	if other := c.WebhookRotation.Reveal(); other != "" {
		secrets = append(secrets, other)
	}
	return analysis.SignerOptions{Secrets: secrets, Valid: c.WebhookValid, Now: time.Now}
}

// maxConcurrency is the largest number of concurrent handlers. The dispatcher allocates memory for
// each when it starts.
const maxConcurrency = 10_000

// maxSlots is the largest ANALYSIS_MAX_RUNNING but 0. Every attempt reads all slots, one after the
// other, within a few seconds: with too many slots no attempt would ever be sent.
const maxSlots = 1000

// Check implements config.Checker.
func (c *Config) Check() error {
	var rules config.Rules
	rules.Check(len(c.WebhookSecret.Reveal()) >= minSecret, "WEBHOOK_SECRET must have at least 16 bytes")
	rotation := len(c.WebhookRotation.Reveal())
	rules.Check(rotation == 0 || rotation >= minSecret, "WEBHOOK_SECRET_ROTATION must have at least 16 bytes")
	rules.Check(c.WebhookValid > 0, "WEBHOOK_URL_VALID must be positive")
	if _, err := api.NewSignatures(c.SigningSecrets.Reveal()); err != nil {
		rules.Check(false, "WEBHOOK_SIGNING_SECRETS: "+err.Error())
	}
	secret := principal.Config{Secret: c.PrincipalSecret}
	if err := secret.Check(); err != nil {
		rules.Check(false, err.Error())
	}
	rules.Check(config.IsHTTP(c.Target), "TARGET_SERVER_URL must be an absolute http or https URL")
	rules.Check(config.IsHTTP(c.Webhook), "WEBHOOK_URL must be an absolute http or https URL")
	rules.Check(c.Concurrency >= 1 && c.Concurrency <= maxConcurrency, "ANALYSIS_CONCURRENCY must be from 1 to 10000")
	rules.Check(c.MaxRunning >= 0 && c.MaxRunning <= maxSlots, "ANALYSIS_MAX_RUNNING must be from 0 to 1000; 0 means no limit")
	rules.Check(c.PollInterval > 0, "ANALYSIS_POLL_INTERVAL must be positive")
	rules.Check(c.MaxAttempts >= 1, "ANALYSIS_MAX_ATTEMPTS must be at least 1")
	rules.Check(c.MaxWebhookBytes >= 1, "MAX_WEBHOOK_BYTES must be at least 1")
	rules.Check(c.RequestTimeout > 0, "ANALYSIS_REQUEST_TIMEOUT must be positive")
	rules.Check(c.BreakerFailures >= 1, "ANALYSIS_BREAKER_FAILURES must be at least 1")
	rules.Check(c.BreakerDelay > 0, "ANALYSIS_BREAKER_DELAY must be positive")
	rules.Check(c.URLValid >= time.Second && c.URLValid <= maxURLValid, "ANALYSIS_URL_VALID must be from 1s to 168h")
	return rules.Err()
}
