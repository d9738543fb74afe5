// Package objectstore makes S3 clients for the services, and resolves the references in the
// catalogue: the addresses of TextGrid, pitch and voice files.
//
// Open returns a client for the endpoint at which this process reaches S3. OpenPublic returns a
// client whose presigned URLs have the endpoint at which browsers and the analysis server reach S3.
package objectstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"sori.internal/shared/config"
	"sori.internal/shared/fault"
)

// Config describes how a service connects to S3. Without an endpoint, it uses the endpoint of AWS
// in the region.
type Config struct {
	AccessKey        string        `env:"AWS_ACCESS_KEY_ID,required"`
	SecretKey        config.Secret `env:"AWS_SECRET_ACCESS_KEY,required"`
	Region           string        `env:"AWS_REGION" envDefault:"us-east-1"`
	Bucket           string        `env:"S3_BUCKET_NAME,required"`
	References       string        `env:"REFERENCE_BUCKET_NAME"` // bucket of the references that consist of a key only; if this and LegacyReferences are empty, Bucket is used
	LegacyReferences string        `env:"AWS_S3_BUCKET_NAME"`    // the old name of REFERENCE_BUCKET_NAME
	Prefixes         Prefixes      `env:"REFERENCE_PREFIXES"`    // the prefixes below which references may point
	Endpoint         string        `env:"S3_ENDPOINT"`
	PublicEndpoint   string        `env:"S3_PUBLIC_ENDPOINT"`
	CA               string        `env:"S3_CA"`                             // PEM file of certificate authorities; if empty, those of the system
	Stall            time.Duration `env:"S3_STALL_TIMEOUT" envDefault:"30s"` // a request fails if no byte is transferred for this long
}

// Check implements config.Checker.
func (c *Config) Check() error {
	var rules config.Rules
	rules.Check(c.Stall > 0, "S3_STALL_TIMEOUT must be positive")
	const rule = " must be an http or https URL with a host only, such as https://s3.example.com"
	_, err := parseEndpoint(c.Endpoint)
	rules.Check(c.Endpoint == "" || err == nil, "S3_ENDPOINT"+rule)
	_, err = parseEndpoint(c.PublicEndpoint)
	rules.Check(c.PublicEndpoint == "" || err == nil, "S3_PUBLIC_ENDPOINT"+rule)
	return rules.Err()
}

// parseEndpoint parses the URL of an S3 server. A path would be lost, as the client library uses
// only the host. The error does not quote the URL, which may contain a password.
func parseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || !config.IsHTTP(*u) || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("open S3: the endpoint is no http or https URL with a host only")
	}
	return u, nil
}

// Open makes a client for the requests of this process. It does not dial.
func Open(cfg Config) (*minio.Client, error) { return open(cfg, cfg.Endpoint) }

// OpenPublic makes a client whose presigned URLs have the public endpoint, if one is configured.
// Presigning does not dial.
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
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	via, err := transport(cfg)
	if err != nil {
		return nil, err
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey.Reveal(), ""),
		Secure: u.Scheme == "https", Region: cfg.Region, // without Region, the client would request it from the server
		Transport: via, MaxRetries: 1, // one attempt: a consumer redelivers the event instead
	})
	if err != nil {
		return nil, fmt.Errorf("open S3: %w", err)
	}
	return client, nil
}

// transport is a transport of net/http whose requests fail if they make no progress for the
// duration cfg.Stall. It keeps enough idle connections for the uploads that run at once.
func transport(cfg Config) (*http.Transport, error) {
	stall, authorities := cfg.Stall, (*x509.CertPool)(nil)
	if cfg.CA != "" {
		text, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("open S3: S3_CA: %w", err)
		}
		if authorities = x509.NewCertPool(); !authorities.AppendCertsFromPEM(text) {
			return nil, errors.New("open S3: S3_CA has no certificate")
		}
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return stallConn{Conn: conn, stall: stall}, nil
		},
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     stall / 2, // shorter than stall, after which an idle connection would fail
		TLSHandshakeTimeout: 10 * time.Second,
		DisableCompression:  true, // the body must arrive as it is stored
		TLSClientConfig:     &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12},
	}, nil
}

// EnsureBucket creates the bucket if it does not exist. Several replicas may call it at once: each
// succeeds, or gets an error of a retryable kind.
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
	if err != nil { // S3 servers report a concurrent creation in different ways
		if exists, lookErr := client.BucketExists(ctx, bucket); lookErr == nil && exists {
			return nil
		}
	}
	return Translate("make bucket "+bucket, err)
}

// Ping returns a readiness check: the bucket must exist.
func Ping(client *minio.Client, bucket string) func(context.Context) error {
	return func(ctx context.Context) error {
		exists, err := client.BucketExists(ctx, bucket)
		if err == nil && !exists {
			err = errors.New("there is no such bucket")
		}
		return Translate("ping bucket "+bucket, err)
	}
}

// Translate wraps an error of S3 with its kind and with what was tried:
//
//  1. fault.NotFound: the object does not exist.
//  2. fault.Unavailable: there is no response, the status is 403, 408, 409, 429 or 5xx, the status
//     is 400 with a code that asks the client to send the request again, or the bucket does not
//     exist. A later request may succeed, or an operator can correct the cause.
//  3. fault.Internal: any other status. Its cause is a setting or a defect of Sori, not the
//     client's input.
func Translate(tried string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s: %w", tried, err)
	switch answer, _ := errors.AsType[minio.ErrorResponse](err); {
	case answer.Code == minio.NoSuchKey || answer.StatusCode == http.StatusNotFound && answer.Code != minio.NoSuchBucket:
		return fault.Wrap(fault.NotFound, "object-not-found", "There is no such object.", wrapped)
	case answer.StatusCode == 0, answer.StatusCode >= 500, answer.StatusCode == http.StatusTooManyRequests,
		answer.StatusCode == http.StatusRequestTimeout, answer.StatusCode == http.StatusConflict,
		answer.StatusCode == http.StatusForbidden, answer.Code == minio.NoSuchBucket, asksForRepetition(answer.Code):
		// There is no response, or a later request may succeed, or an operator can correct the
		// cause.
		return fault.Unreachable("storage", wrapped)
	default:
		return wrapped
	}
}

// asksForRepetition reports whether a code of S3 means that the request should be repeated, although
// its status is 400 (Amazon S3 API reference, "Error responses").
func asksForRepetition(code string) bool {
	switch code {
	case "RequestTimeout", "RequestLimitExceeded", "RequestThrottled", "Throttling", "ThrottlingException":
		return true
	default:
		return false
	}
}
