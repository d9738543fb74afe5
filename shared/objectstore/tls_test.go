package objectstore

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/fault"
)

func TestS3IsReachedByTLSIfItsCertificateIsOfAKnownAuthority(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	known := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(known, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Endpoint: server.URL, AccessKey: "a", SecretKey: "b", Region: "us-east-1", Bucket: "bucket", Stall: time.Minute}
	ping := func(ca string) error {
		c := cfg
		c.CA = ca
		client, err := Open(c)
		if err != nil {
			return err
		}
		return Ping(client, c.Bucket)(t.Context())
	}
	if err := ping(known); err != nil {
		t.Error(err)
	}
	if err := ping(""); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, broken := range []string{empty, filepath.Join(dir, "missing.pem")} {
		if err := ping(broken); err == nil || !strings.Contains(err.Error(), "S3_CA") {
			t.Errorf("%s: %v", broken, err)
		}
	}
}
