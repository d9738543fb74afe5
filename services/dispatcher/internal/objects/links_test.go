package objects_test

import (
	"net/url"
	"testing"
	"time"

	"sori.internal/services/dispatcher/internal/objects"
	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
)

// links makes a Links. Its client needs no S3 server, since signing sends no request.
func links(t *testing.T, style objects.Style) *objects.Links {
	t.Helper()
	cfg := objectstore.Config{
		AccessKey: "id", SecretKey: "secret", Region: "us-east-1", Bucket: "home",
		Endpoint: "http://127.0.0.1:1", PublicEndpoint: "https://objects.example.org",
		Prefixes: objectstore.Prefixes{"s3://home/", "s3://bucket/", "https://elsewhere.example/ref/"},
	}
	client, err := objectstore.OpenPublic(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return objects.New(client, cfg, style, 15*time.Minute)
}

func TestAReferenceBecomesAURLInTheConfiguredStyle(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]struct{ path, s3 string }{
		"s3://bucket/ref/1.json":                        {"/bucket/ref/1.json", "s3://bucket/ref/1.json"},
		"ref/소리 1.json":                                 {"/home/ref/소리 1.json", "s3://home/ref/소리 1.json"},
		"https://bucket.s3.amazonaws.com/ref/1.json":    {"/bucket/ref/1.json", "s3://bucket/ref/1.json"},
		"https://objects.example.org/bucket/ref/1.json": {"/bucket/ref/1.json", "s3://bucket/ref/1.json"},
		"http://127.0.0.1:1/bucket/ref/1.json":          {"/bucket/ref/1.json", "s3://bucket/ref/1.json"},
		"https://elsewhere.example/ref/1.json?token=1":  {},
	} {
		s3, err := links(t, objects.S3).Reference(t.Context(), ref)
		if want.s3 == "" {
			want.s3 = ref
		}
		if err != nil || s3 != want.s3 {
			t.Errorf("%s: %s %v, want %s", ref, s3, err, want.s3)
		}
		signed, err := links(t, objects.Presigned).Reference(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		if want.path == "" {
			if signed != ref {
				t.Errorf("%s became %s", ref, signed)
			}
			continue
		}
		u, err := url.Parse(signed)
		if err != nil || u.Scheme != "https" || u.Host != "objects.example.org" || u.Path != want.path || u.Query().Get("X-Amz-Expires") != "900" {
			t.Errorf("%s: %s %v", ref, signed, err)
		}
	}
}

func TestABucketNameThatS3DoesNotAllowIsInvalid(t *testing.T) {
	t.Parallel()
	if _, err := links(t, objects.Presigned).Object(t.Context(), "No_Such..Bucket", "k"); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

func TestOnlyTheTwoStylesAreAccepted(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{"presigned": true, "s3": true, "": false, "S3": false, "ftp": false} {
		var s objects.Style
		if err := s.UnmarshalText([]byte(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
