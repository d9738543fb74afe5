package objectstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/testkit"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func settings(t *testing.T) (*testkit.Kit, objectstore.Config) {
	t.Helper()
	k := testkit.New(t)
	var cfg objectstore.Config
	k.Load(&cfg)
	return k, cfg
}

func TestCopiesMayMakeTheBucketAtOnceAndAgain(t *testing.T) {
	t.Parallel()
	k, cfg := settings(t)
	client, err := objectstore.Open(cfg)
	must(t, err)
	if err := objectstore.Ping(client, cfg.Bucket)(k.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("before there is one: %v", err)
	}
	var wg sync.WaitGroup
	ctx := k.Context()
	for range 8 {
		wg.Go(func() {
			for {
				err := objectstore.EnsureBucket(ctx, client, cfg.Bucket, cfg.Region)
				if err == nil {
					return
				}
				if !fault.Is(err, fault.Unavailable) || ctx.Err() != nil { // a service would retry after fault.Unavailable
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	const body = "소리"
	_, err = client.PutObject(k.Context(), cfg.Bucket, "k", strings.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
	must(t, err)
	k.Bucket() // ensures the bucket again, which must keep the object, and removes the bucket after the test
	must(t, objectstore.Ping(client, cfg.Bucket)(k.Context()))
	o, err := client.GetObject(k.Context(), cfg.Bucket, "k", minio.GetObjectOptions{})
	must(t, err)
	if got, err := io.ReadAll(o); err != nil || string(got) != body {
		t.Errorf("%q %v", got, err)
	}
}

func TestEveryErrorHasItsKind(t *testing.T) {
	t.Parallel()
	response := func(status int, code string) error { return minio.ErrorResponse{StatusCode: status, Code: code} }
	for name, c := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"no key":            {response(404, minio.NoSuchKey), fault.NotFound},
		"no key, wrapped":   {fmt.Errorf("get: %w", response(404, minio.NoSuchKey)), fault.NotFound},
		"no upload":         {response(404, "NoSuchUpload"), fault.NotFound},
		"no bucket":         {response(404, minio.NoSuchBucket), fault.Unavailable},
		"denied":            {response(403, minio.AccessDenied), fault.Unavailable},
		"a race":            {response(409, "OperationAborted"), fault.Unavailable},
		"slow down":         {response(503, "SlowDown"), fault.Unavailable},
		"too many requests": {response(429, ""), fault.Unavailable},
		"timed out":         {response(408, ""), fault.Unavailable},
		"timed out at AWS":  {response(400, "RequestTimeout"), fault.Unavailable},
		"throttled at AWS":  {response(400, "Throttling"), fault.Unavailable},
		"internal error":    {response(500, "InternalError"), fault.Unavailable},
		"out of space":      {response(507, "XMinioStorageFull"), fault.Unavailable},
		"no connection":     {&url.Error{Op: "Put", URL: "http://s3", Err: errors.New("connection refused")}, fault.Unavailable},
		"cut off":           {io.ErrUnexpectedEOF, fault.Unavailable},
		"out of time":       {context.DeadlineExceeded, fault.Unavailable},
		"invalid argument":  {response(400, "InvalidArgument"), fault.Internal},
		"precondition":      {response(412, "PreconditionFailed"), fault.Internal},
	} {
		err := objectstore.Translate("try it", c.err)
		if !fault.Is(err, c.want) || !errors.Is(err, c.err) && !strings.Contains(err.Error(), c.err.Error()) {
			t.Errorf("%s: %s %v", name, fault.KindOf(err), err)
		}
		if !strings.Contains(err.Error(), "try it") {
			t.Errorf("%s does not say what was tried: %v", name, err)
		}
	}
	if objectstore.Translate("try it", nil) != nil {
		t.Error("no error became one")
	}
}

func TestTheServersOwnErrorsHaveTheirKind(t *testing.T) {
	t.Parallel()
	k, cfg := settings(t)
	client, bucket := k.Bucket()
	_, err := client.StatObject(k.Context(), bucket, "nothing", minio.StatObjectOptions{})
	if err = objectstore.Translate("stat", err); !fault.Is(err, fault.NotFound) {
		t.Errorf("no object: %v", err)
	}
	put := func(cfg objectstore.Config, bucket string) error {
		c, err := objectstore.Open(cfg)
		must(t, err)
		_, err = c.PutObject(k.Context(), bucket, "k", bytes.NewReader([]byte("x")), 1, minio.PutObjectOptions{})
		return objectstore.Translate("put", err)
	}
	wrong, away := cfg, cfg
	wrong.SecretKey = "hunter2"
	away.Endpoint = "http://127.0.0.1:1"
	for name, err := range map[string]error{
		"no bucket": put(cfg, bucket+"-gone"), "a wrong key": put(wrong, bucket), "nobody there": put(away, bucket),
	} {
		if !fault.Is(err, fault.Unavailable) || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPresignedURLNamesThePublicEndpointAndWorksThere(t *testing.T) {
	t.Parallel()
	k, cfg := settings(t)
	client, bucket := k.Bucket()
	_, err := client.PutObject(k.Context(), bucket, "a/소리 1.wav", strings.NewReader("sound"), 5, minio.PutObjectOptions{})
	must(t, err)
	outside := k.Proxy(cfg.Endpoint)
	for name, c := range map[string]struct{ public, want string }{
		"the same": {"", cfg.Endpoint}, "another": {outside.URL, outside.URL},
	} {
		cfg := cfg
		if cfg.PublicEndpoint = c.public; c.public != "" {
			cfg.Endpoint = "http://127.0.0.1:1" // no server listens there: presigning must not dial
		}
		public, err := objectstore.OpenPublic(cfg)
		must(t, err)
		u, err := public.PresignedGetObject(k.Context(), bucket, "a/소리 1.wav", time.Minute, nil)
		must(t, err)
		if !strings.HasPrefix(u.String(), c.want+"/") {
			t.Errorf("%s: %s", name, u)
		}
		resp, err := http.Get(u.String())
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		_ = resp.Body.Close()
		if string(body) != "sound" {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
}

func TestWithoutAnEndpointItIsAWSsOfTheRegion(t *testing.T) {
	t.Parallel()
	client, err := objectstore.Open(objectstore.Config{AccessKey: "a", SecretKey: "b", Region: "ap-northeast-2", Bucket: "home"})
	must(t, err)
	if host := client.EndpointURL().Host; !strings.HasPrefix(host, "s3.") || !strings.HasSuffix(host, ".amazonaws.com") {
		t.Errorf("host %s", host)
	}
	u, err := client.PresignedGetObject(t.Context(), "home", "k", time.Minute, nil)
	must(t, err)
	if u.Scheme != "https" || !strings.Contains(u.Host, "ap-northeast-2") {
		t.Errorf("%s", u)
	}
	for _, endpoint := range []string{"s3.local:9000", "ftp://s3.local", "http://", "://", "http://h/path/%zz"} {
		if _, err := objectstore.Open(objectstore.Config{AccessKey: "a", SecretKey: "hunter2", Endpoint: endpoint}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

func TestAnEndpointThatWouldLoseAPartIsRefusedByItsName(t *testing.T) {
	t.Parallel()
	for endpoint, allowed := range map[string]bool{
		"": true, "http://s3:7070": true, "https://s3.example.com/": true, "https://example.com/s3": false, "http://user:hunter2@s3:7070": false,
		"user:hunter2@s3:7070": false, "http://s3?x=hunter2": false, "s3:7070": false,
	} {
		for _, name := range []string{"S3_ENDPOINT", "S3_PUBLIC_ENDPOINT"} {
			var cfg objectstore.Config
			err := config.Load(config.Map(map[string]string{
				"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "S3_BUCKET_NAME": "sori", name: endpoint,
			}), &cfg)
			if text := fmt.Sprint(err); (err == nil) != allowed || !allowed && !strings.Contains(text, name+" must be") || strings.Contains(text, "hunter2") {
				t.Errorf("%s=%s: %v", name, endpoint, err)
			}
		}
	}
}
