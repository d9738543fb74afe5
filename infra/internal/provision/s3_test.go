package provision_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/cors"

	"sori.internal/infra/internal/provision"
	"sori.internal/shared/config"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/testkit"
)

var update = flag.Bool("update", false, "write infra/s3/policy.json")

func TestTheFileHasThePolicyOfTheBucket(t *testing.T) {
	t.Parallel()
	const file, secret = "../../s3/policy.json", "x"
	i := provision.Identities{GatewaySecret: secret, UploaderSecret: secret, DispatcherSecret: secret, TrackerSecret: secret, OperatorSecret: secret}
	if err := config.Load(config.Map(nil), &i); err != nil { // the default names
		t.Fatal(err)
	}
	want, err := json.MarshalIndent(provision.BucketPolicy("sori", i), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, append(want, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != string(want)+"\n" {
		t.Errorf("%s differs from the policy, %v: run this test with -update", file, err)
	}
}

const s3Secret = "secret-key-of-the-test"

func TestAnIdentityMayDoWhatItsServiceDoesAndNothingElse(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	root, bucket := k.Bucket()
	var cfg objectstore.Config
	k.Load(&cfg)
	prefix := bucket + "-"
	i := provision.Identities{
		Gateway: prefix + "gateway", Uploader: prefix + "uploader", Dispatcher: prefix + "dispatcher", Tracker: prefix + "tracker", Operator: prefix + "sorictl",
		GatewaySecret: "another", UploaderSecret: s3Secret, DispatcherSecret: s3Secret, TrackerSecret: s3Secret, OperatorSecret: s3Secret,
	}
	for range 2 { // the second run changes the secret
		names, err := provision.S3(k.Context(), cfg, i)
		if err != nil || len(names) != 5 {
			t.Fatalf("%v, %v", names, err)
		}
		i.GatewaySecret = s3Secret
	}
	for _, key := range []string{"audio/1/a.wav", "ref/1.json"} {
		if _, err := root.PutObject(k.Context(), bucket, key, strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	get := func(key string) func(*minio.Client) error {
		return func(c *minio.Client) error {
			_, err := c.StatObject(k.Context(), bucket, key, minio.StatObjectOptions{})
			return err
		}
	}
	put := func(key string) func(*minio.Client) error {
		return func(c *minio.Client) error {
			_, err := c.PutObject(k.Context(), bucket, key, strings.NewReader("x"), 1, minio.PutObjectOptions{})
			return err
		}
	}
	for what, call := range map[string]struct {
		who string
		do  func(*minio.Client) error
	}{
		"reads a recording":  {"uploader dispatcher tracker", get("audio/1/a.wav")},
		"reads a reference":  {"gateway dispatcher", get("ref/1.json")},
		"writes a recording": {"uploader", put("audio/2/b.wav")},
		"writes a reference": {"", put("ref/2.json")},
		"removes a recording": {"uploader", func(c *minio.Client) error {
			return c.RemoveObject(k.Context(), bucket, "audio/3/c.wav", minio.RemoveObjectOptions{})
		}},
		"removes a reference": {"", func(c *minio.Client) error {
			return c.RemoveObject(k.Context(), bucket, "ref/3.json", minio.RemoveObjectOptions{})
		}},
		"lists":              {"uploader sorictl", func(c *minio.Client) error { return list(k, c, bucket) }},
		"changes CORS":       {"uploader", func(c *minio.Client) error { return c.SetBucketCors(k.Context(), bucket, corsRule()) }},
		"changes the policy": {"", func(c *minio.Client) error { return c.SetBucketPolicy(k.Context(), bucket, "") }},
		"creates a bucket":   {"", func(c *minio.Client) error { return c.MakeBucket(k.Context(), bucket+"2", minio.MakeBucketOptions{}) }},
		"removes the bucket": {"", func(c *minio.Client) error { return c.RemoveBucket(k.Context(), bucket) }},
		"reads the policy":   {"", func(c *minio.Client) error { _, err := c.GetBucketPolicy(k.Context(), bucket); return err }},
	} {
		for name, access := range map[string]string{"gateway": i.Gateway, "uploader": i.Uploader, "dispatcher": i.Dispatcher, "tracker": i.Tracker, "sorictl": i.Operator} {
			own := cfg
			own.AccessKey, own.SecretKey = access, s3Secret
			client, err := objectstore.Open(own)
			if err != nil {
				t.Fatal(err)
			}
			err = call.do(client)
			if may := err == nil; may != strings.Contains(call.who, name) {
				t.Errorf("%s %s: %v", name, what, err)
			} else if code := minio.ToErrorResponse(err).Code; !may && code != "AccessDenied" {
				t.Errorf("%s %s fails for another reason: %v", name, what, err)
			}
		}
	}
}

func TestReferencesMayHaveABucketOfTheirOwn(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	root, bucket := k.Bucket()
	var cfg objectstore.Config
	k.Load(&cfg)
	cfg.References = bucket + "-references"
	i := provision.Identities{
		Gateway: bucket + "-gateway", Uploader: bucket + "-uploader", Dispatcher: bucket + "-dispatcher",
		GatewaySecret: s3Secret, UploaderSecret: s3Secret, DispatcherSecret: s3Secret,
	}
	if _, err := provision.S3(k.Context(), cfg, i); err != nil {
		t.Fatal(err)
	}
	if _, err := root.PutObject(k.Context(), cfg.References, "1.json", strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the test's context has ended
		ctx := context.WithoutCancel(k.Context())
		_ = root.RemoveObject(ctx, cfg.References, "1.json", minio.RemoveObjectOptions{})
		_ = root.RemoveBucket(ctx, cfg.References)
	})
	for access, may := range map[string]bool{i.Gateway: true, i.Dispatcher: true, i.Uploader: false} {
		own := cfg
		own.AccessKey, own.SecretKey = access, s3Secret
		client, err := objectstore.Open(own)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.StatObject(k.Context(), cfg.References, "1.json", minio.StatObjectOptions{}); (err == nil) != may {
			t.Errorf("%s reads a reference: %v", access, err)
		}
		if _, err := client.PutObject(k.Context(), cfg.References, "2.json", strings.NewReader("x"), 1, minio.PutObjectOptions{}); err == nil {
			t.Errorf("%s writes a reference", access)
		}
	}
	// The operator's own policy stays: here the uploader's identity may read, and no other.
	own := provision.ReferencePolicy(cfg.References, provision.Identities{Gateway: i.Uploader, GatewaySecret: s3Secret})
	text, err := json.Marshal(own)
	if err != nil {
		t.Fatal(err)
	}
	if err := root.SetBucketPolicy(k.Context(), cfg.References, string(text)); err != nil {
		t.Fatal(err)
	}
	if _, err := provision.S3(k.Context(), cfg, i); err != nil {
		t.Fatal(err)
	}
	if now, err := root.GetBucketPolicy(k.Context(), cfg.References); err != nil || strings.Contains(now, i.Dispatcher) {
		t.Errorf("the policy of the operator was replaced by %s, %v", now, err)
	}
}

func list(k *testkit.Kit, c *minio.Client, bucket string) error {
	for o := range c.ListObjects(k.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			return o.Err
		}
	}
	return nil
}

func corsRule() *cors.Config {
	return cors.NewConfig([]cors.Rule{{AllowedMethod: []string{"GET"}, AllowedOrigin: []string{"http://localhost:3000"}}})
}
