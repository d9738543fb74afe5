package objects_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/gateway/internal/objects"
	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/testkit"
)

func settings(t *testing.T) (*testkit.Kit, objectstore.Config) {
	t.Helper()
	k := testkit.New(t)
	var cfg objectstore.Config
	k.Load(&cfg)
	return k, cfg
}

func TestAnEndpointThatIsNoURLIsAnError(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*objectstore.Config){
		"the endpoint":        func(cfg *objectstore.Config) { cfg.Endpoint = "ftp://s3" },
		"the public endpoint": func(cfg *objectstore.Config) { cfg.PublicEndpoint = "ftp://s3" },
	} {
		_, cfg := settings(t)
		change(&cfg)
		if _, err := objects.Open(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The memory for a file is reserved before the file is read.
func TestAFileIsReadIfItsSizeIsAdmitted(t *testing.T) {
	t.Parallel()
	k, cfg := settings(t)
	client, bucket := k.Bucket()
	const text = "0 1 pitch"
	if _, err := client.PutObject(k.Context(), bucket, "a.txt", strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	o, err := objects.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var asked int64
	full := errors.New("there is no memory")
	for _, refusal := range []error{nil, full} {
		got, err := o.Read(k.Context(), "s3://"+bucket+"/a.txt", 100, func(size int64) error { asked = size; return refusal })
		if !errors.Is(err, refusal) || asked != int64(len(text)) || (string(got) == text) != (refusal == nil) {
			t.Errorf("%q, %v after %d bytes were requested; want %v", got, err, asked, refusal)
		}
	}
	if _, err := o.Read(k.Context(), "s3://"+bucket+"/a.txt", int64(len(text))-1, func(int64) error { return nil }); !fault.Is(err, fault.TooLarge) {
		t.Errorf("too large: %v", err)
	}
	for _, ref := range []string{"", "s3://", "s3://" + bucket} {
		asked = 0
		if _, err := o.Read(k.Context(), ref, 100, func(int64) error { asked++; return nil }); err == nil || asked > 0 {
			t.Errorf("%q: %v", ref, err)
		}
		if link, err := o.Link(k.Context(), ref, time.Minute); err == nil {
			t.Errorf("%q: %s", ref, link)
		}
	}
}
