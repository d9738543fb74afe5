// Package objectstore makes S3 clients for the services, and reads the addresses of objects.
//
// Open returns a client for the address by which this process reaches S3. OpenPublic returns one
// whose presigned URLs have the address by which browsers and the analysis server reach it.
package objectstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"sori.internal/shared/config"
	"sori.internal/shared/fault"
)

// Config is how a service reaches S3. Without an endpoint it is AWS's own of
// the region.
type Config struct {
	AccessKey      string        `env:"AWS_ACCESS_KEY_ID,required"`
	SecretKey      config.Secret `env:"AWS_SECRET_ACCESS_KEY,required"`
	Region         string        `env:"AWS_REGION" envDefault:"us-east-1"`
	Bucket         string        `env:"S3_BUCKET_NAME,required"`
	References     string        `env:"REFERENCE_BUCKET_NAME"` // of bare keys; empty is Bucket
	ReferencesWere string        `env:"AWS_S3_BUCKET_NAME"`    // the older name of the same setting
	Endpoint       string        `env:"S3_ENDPOINT"`
	PublicEndpoint string        `env:"S3_PUBLIC_ENDPOINT"`
	Stall          time.Duration `env:"S3_STALL_TIMEOUT" envDefault:"30s"`
}

// Check implements config.Checker.
func (c *Config) Check() error {
	if c.Stall <= 0 {
		return errors.New("S3_STALL_TIMEOUT must be positive")
	}
	return nil
}

// Open prepares a client for this process. It does not dial.
func Open(cfg Config) (*minio.Client, error) { return open(cfg, cfg.Endpoint) }

// OpenPublic prepares a client whose presigned URLs name the public endpoint,
// where there is one. Presigning dials nobody.
func OpenPublic(cfg Config) (*minio.Client, error) {
	if cfg.PublicEndpoint == "" {
		return Open(cfg)
	}
	return open(cfg, cfg.PublicEndpoint)
}

func open(cfg Config, endpoint string) (*minio.Client, error) {
	if endpoint == "" {
		endpoint = "https://s3." + cfg.Region + ".amazonaws.com"
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("open S3: the endpoint %q is no http or https URL", endpoint)
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey.Reveal(), ""),
		Secure: u.Scheme == "https", Region: cfg.Region, // known, so that no request asks for it
		Transport: transport(cfg.Stall), MaxRetries: 1, // the bus retries
	})
	if err != nil {
		return nil, fmt.Errorf("open S3: %w", err)
	}
	return client, nil
}

// transport is net/http's with limits of ours: no step of a request may stand
// still for longer than stall, and enough idle connections stay for the copies
// that run at once.
func transport(stall time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return moving{Conn: conn, stall: stall}, nil
		},
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     stall / 2, // on an idle one nothing moves
		TLSHandshakeTimeout: 10 * time.Second,
		DisableCompression:  true, // the bytes must arrive as they are stored
	}
}

// EnsureBucket makes the bucket where it does not exist. Copies may do so at once:
// one that another overtakes succeeds too, or is told to try again.
func EnsureBucket(ctx context.Context, client *minio.Client, bucket, region string) error {
	exists, err := client.BucketExists(ctx, bucket)
	if err != nil {
		return Translate("look for bucket "+bucket, err)
	}
	if exists {
		return nil
	}
	err = client.MakeBucket(ctx, bucket, minio.MakeBucketOptions{Region: region})
	if code := minio.ToErrorResponse(err).Code; code == minio.BucketAlreadyOwnedByYou || code == minio.BucketAlreadyExists {
		return nil
	}
	if err != nil { // servers tell in many ways that another was quicker
		if exists, lookErr := client.BucketExists(ctx, bucket); lookErr == nil && exists {
			return nil
		}
	}
	return Translate("make bucket "+bucket, err)
}

// Ping asks S3 for an answer, for readiness.
func Ping(client *minio.Client, bucket string) func(context.Context) error {
	return func(ctx context.Context) error {
		exists, err := client.BucketExists(ctx, bucket)
		if err == nil && !exists {
			err = errors.New("there is no such bucket")
		}
		return Translate("ping bucket "+bucket, err)
	}
}

// Translate gives an error of S3 its kind, with what was tried. What S3 refuses
// for good (a 4xx other than those below) stays internal: it is a setting or a
// defect of ours, and no client's mistake.
func Translate(tried string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s: %w", tried, err)
	switch answer, _ := errors.AsType[minio.ErrorResponse](err); {
	case answer.Code == minio.NoSuchKey || answer.StatusCode == http.StatusNotFound && answer.Code != minio.NoSuchBucket:
		return fault.Wrap(fault.NotFound, "object-not-found", "There is no such object.", wrapped)
	case answer.StatusCode == 0, answer.StatusCode >= 500, answer.StatusCode == http.StatusTooManyRequests,
		answer.StatusCode == http.StatusConflict, answer.StatusCode == http.StatusForbidden, answer.Code == minio.NoSuchBucket:
		// No answer at all, or one that time or an operator can change.
		return fault.Away("storage", wrapped)
	default:
		return wrapped
	}
}
