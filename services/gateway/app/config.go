package app

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/api"
	"sori.internal/services/gateway/internal/forwarded"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/services/gateway/internal/quota"
	"sori.internal/services/gateway/internal/ratelimit"
	"sori.internal/services/gateway/internal/upload"
	"sori.internal/services/gateway/internal/web"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/httpd"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/locale"
	"sori.internal/shared/logging"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/origin"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
	"sori.internal/shared/source"
)

// Config has the settings of the gateway.
type Config struct {
	lifecycle.ShutdownConfig

	Addr             string          `env:"HTTP_ADDR" envDefault:":8000"`
	Tracker          url.URL         `env:"TRACKER_URL,required"`
	Dispatcher       url.URL         `env:"DISPATCHER_URL,required"`
	Uploader         url.URL         `env:"UPLOADER_URL" envDefault:"http://uploader:8001"`
	MaxUploadBytes   int64           `env:"MAX_UPLOAD_BYTES" envDefault:"104857600"`
	MaxDirectBytes   int64           `env:"MAX_DIRECT_UPLOAD_BYTES" envDefault:"5368709120"`
	UploadExpiry     time.Duration   `env:"UPLOAD_EXPIRY" envDefault:"24h"`
	MaxSeconds       float64         `env:"MAX_AUDIO_SECONDS" envDefault:"0"`
	AudioRetention   time.Duration   `env:"AUDIO_RETENTION"`
	ResultRetention  time.Duration   `env:"RESULT_RETENTION"`
	FetchAllowed     source.Allowed  `env:"FETCH_ALLOWED"`
	MaxFetchBytes    int64           `env:"MAX_FETCH_BYTES" envDefault:"104857600"`
	MaxWebhookBytes  int64           `env:"MAX_WEBHOOK_BYTES" envDefault:"16777216"`
	MaxUploads       int             `env:"MAX_CONCURRENT_UPLOADS" envDefault:"256"`
	UploadIdle       time.Duration   `env:"UPLOAD_IDLE_TIMEOUT" envDefault:"30s"`
	UploadTimeout    time.Duration   `env:"UPLOAD_TIMEOUT" envDefault:"1h"`
	MinBodyRate      int64           `env:"MIN_BODY_RATE" envDefault:"4096"`
	UploadReserve    float64         `env:"UPLOAD_RESERVE" envDefault:"0.1"`
	IdempotencyLease time.Duration   `env:"IDEMPOTENCY_LEASE" envDefault:"15s"`
	DefaultLanguage  locale.Language `env:"DEFAULT_LANGUAGE" envDefault:"ko"`
	ConsoleDir       string          `env:"CONSOLE_DIR"`
	ClientID         string          `env:"OIDC_CLIENT_ID"`
	Scopes           string          `env:"OIDC_SCOPES" envDefault:"openid profile offline_access"`
	Origins          origin.List     `env:"CORS_ALLOWED_ORIGINS"`

	Hosts httpserver.Hosts `env:"ALLOWED_HOSTS"`

	TrustedProxies forwarded.Proxies `env:"TRUSTED_PROXIES"`
	BasePath       string            `env:"BASE_PATH"`

	AddressRate      int `env:"RATE_LIMIT_PER_ADDRESS" envDefault:"200"`
	PrincipalRate    int `env:"RATE_LIMIT_PER_PRINCIPAL" envDefault:"100"`
	PrincipalUploads int `env:"MAX_UPLOADS_PER_PRINCIPAL" envDefault:"32"`
	PrincipalRetries int `env:"MAX_RETRIES_PER_PRINCIPAL" envDefault:"60"`
	PrincipalStreams int `env:"MAX_STREAMS_PER_PRINCIPAL" envDefault:"200"`

	StagedBytes *int64 `env:"PRINCIPAL_STAGED_BYTES"`
	StoredBytes int64  `env:"PRINCIPAL_STORED_BYTES" envDefault:"0"`
	LogBytes    *int64 `env:"PRINCIPAL_LOG_BYTES"`

	Access         access.Config
	AuditRetention time.Duration `env:"AUDIT_RETENTION" envDefault:"8760h"`
	Principal      principal.Config

	Logging  logging.Config
	Admin    httpd.AdminConfig
	Bus      bus.Config
	Postgres postgres.Config
	Objects  objectstore.Config
}

// minLease is the shortest lease. A shorter one might expire before it is renewed.
const minLease = 100 * time.Millisecond

// Check implements config.Checker.
func (c *Config) Check() error {
	var rules config.Rules
	rules.Check(config.IsHTTP(c.Tracker), "TRACKER_URL must be an http or https URL")
	rules.Check(config.IsHTTP(c.Dispatcher), "DISPATCHER_URL must be an http or https URL")
	rules.Check(config.IsHTTP(c.Uploader), "UPLOADER_URL must be an http or https URL")
	rules.Check(c.MaxUploadBytes >= 1 && c.MaxWebhookBytes >= 1 && c.MaxUploads >= 1,
		"MAX_UPLOAD_BYTES, MAX_WEBHOOK_BYTES and MAX_CONCURRENT_UPLOADS must be at least 1")
	rules.Check(c.UploadIdle > 0 && c.UploadTimeout > 0, "UPLOAD_IDLE_TIMEOUT and UPLOAD_TIMEOUT must be positive")
	rules.Check(c.MaxDirectBytes >= 1 && c.MaxFetchBytes >= 1, "MAX_DIRECT_UPLOAD_BYTES and MAX_FETCH_BYTES must be at least 1")
	rules.Check(c.UploadExpiry > 0 && c.UploadExpiry <= c.Bus.JobsMaxAge, "UPLOAD_EXPIRY must be positive and not longer than JOBS_MAX_AGE")
	rules.Check(c.MaxSeconds >= 0, "MAX_AUDIO_SECONDS must not be negative")
	rules.Check(c.AudioRetention >= 0 && c.ResultRetention >= 0, "AUDIO_RETENTION and RESULT_RETENTION must not be negative")
	rules.Check(c.AuditRetention > 0, "AUDIT_RETENTION must be positive")
	rules.Check(min(c.AddressRate, c.PrincipalRate, c.PrincipalUploads, c.PrincipalStreams, c.PrincipalRetries) >= 0,
		"RATE_LIMIT_PER_ADDRESS, RATE_LIMIT_PER_PRINCIPAL, MAX_UPLOADS_PER_PRINCIPAL, MAX_STREAMS_PER_PRINCIPAL "+
			"and MAX_RETRIES_PER_PRINCIPAL must not be negative")
	quotas := c.quotas()
	rules.Check(min(quotas.Staged, quotas.Stored, quotas.Log) >= 0,
		"PRINCIPAL_STAGED_BYTES, PRINCIPAL_STORED_BYTES and PRINCIPAL_LOG_BYTES must not be negative")
	rules.Check(quotas.Staged == 0 || quotas.Staged >= c.uploadLimits().MaxBody(),
		"PRINCIPAL_STAGED_BYTES must be 0 or at least MAX_UPLOAD_BYTES and 131072, the size of the largest upload")
	rules.Check(c.MinBodyRate >= 0, "MIN_BODY_RATE must not be negative")
	rules.Check(c.UploadReserve >= 0 && c.UploadReserve < 1, "UPLOAD_RESERVE must be from 0 to less than 1")
	rules.Check(c.IdempotencyLease >= minLease, "IDEMPOTENCY_LEASE must be at least 100ms")
	rules.Check(c.Postgres.MaxConnections >= 2, "DATABASE_MAX_CONNECTIONS must be at least 2")
	rules.Check(c.Access.Secret == "" || c.Access.Secret != c.Principal.Secret,
		"AUTH_JWT_SECRET must differ from PRINCIPAL_SECRET, with which tickets are signed: a ticket in a link would be a token of its owner")
	rules.Check(c.ClientID == "" || c.Access.Issuer != "", "OIDC_CLIENT_ID requires OIDC_ISSUER: it is the console's client at that provider")
	rules.Check(slices.Contains(strings.Fields(c.Scopes), "openid"), "OIDC_SCOPES must contain openid")
	_, isPath := forwarded.CleanPrefix(c.BasePath)
	rules.Check(isPath, "BASE_PATH must be a path of letters, digits and -._~ such as /api")
	return errors.Join(rules.Err(), c.FetchAllowed.CheckBucket(c.Objects.Bucket), c.Access.CheckAddress(c.Addr))
}

// warn logs a contradiction that makes some uploads impossible, but not all.
func (c *Config) warn(log zerolog.Logger) {
	if c.MaxUploadBytes > c.Bus.StagingMaxBytes {
		log.Warn().Int64("max_upload_bytes", c.MaxUploadBytes).Int64("staging_max_bytes", c.Bus.StagingMaxBytes).
			Msg("larger uploads than STAGING_MAX_BYTES are answered with 503, lower MAX_UPLOAD_BYTES")
	}
}

// publicLimits returns the limits that the API publishes.
func (c *Config) publicLimits() api.UploadLimits {
	return api.UploadLimits{
		MaxBytes: c.MaxUploadBytes, MaxDirectBytes: c.MaxDirectBytes, MaxFetchBytes: c.MaxFetchBytes, Expiry: c.UploadExpiry, MaxSeconds: c.MaxSeconds,
		AudioRetention: c.AudioRetention, ResultRetention: c.ResultRetention,
	}
}

// uploadLimits returns the limits of uploads.
func (c *Config) uploadLimits() upload.Limits {
	return upload.Limits{
		MaxBytes: c.MaxUploadBytes, DirectBytes: c.MaxDirectBytes, Concurrent: c.MaxUploads, Reserve: c.UploadReserve, Lease: c.IdempotencyLease,
	}
}

// quotas returns the budgets of each owner. By default one owner can use half of staging and half of
// the log, so that it cannot stop the uploads of all others.
func (c *Config) quotas() quota.Limits {
	l := quota.Limits{
		Staged: max(c.Bus.StagingMaxBytes/2, c.uploadLimits().MaxBody()), Stored: c.StoredBytes, Log: c.Bus.JobsMaxBytes / 2,
	}
	if c.StagedBytes != nil {
		l.Staged = *c.StagedBytes
	}
	if c.LogBytes != nil {
		l.Log = *c.LogBytes
	}
	return l
}

// burstSeconds determines the burst of a client: the number of requests that its rate allows in
// this many seconds.
const burstSeconds = 10

// clientLimits returns the limits of each client, and adds them to a set.
func (c *Config) clientLimits(set *ratelimit.Set) httpserver.Limits {
	return httpserver.Limits{
		Address:   set.NewRate("address", "requests", burstSeconds*c.AddressRate, burstSeconds*time.Second),
		Principal: set.NewRate("principal", "requests", burstSeconds*c.PrincipalRate, burstSeconds*time.Second),
		Retries:   set.NewRate("retries", "retries", c.PrincipalRetries, time.Minute),
		Uploads:   set.NewConcurrency("uploads", c.PrincipalUploads), Streams: set.NewConcurrency("streams", c.PrincipalStreams),
	}
}

// basePath returns BASE_PATH without a trailing slash.
func (c *Config) basePath() string {
	path, _ := forwarded.CleanPrefix(c.BasePath)
	return path
}

// signIn returns how the console signs users in.
func (c *Config) signIn() web.SignIn {
	s := web.SignIn{Open: !c.Access.Enabled(), APIKeys: c.Access.Enabled()}
	if c.ClientID != "" {
		s.OIDC = &web.OIDC{
			Issuer: c.Access.Issuer, ClientID: c.ClientID, Scope: strings.Join(strings.Fields(c.Scopes), " "),
			Audience: c.Access.Audience,
		}
	}
	return s
}

// mediaOrigin returns the origin of the presigned URLs of stored audio. Without an S3 endpoint in
// the settings, it is any host of amazonaws.com.
func (c *Config) mediaOrigin() string {
	u, err := url.Parse(cmp.Or(c.Objects.PublicEndpoint, c.Objects.Endpoint))
	if err != nil || u.Host == "" {
		return "https://*.amazonaws.com"
	}
	return u.Scheme + "://" + u.Host
}
