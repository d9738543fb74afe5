package logging_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/logging"
)

func TestALineIsJSONWithServiceAndVersion(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := logging.New(logging.Config{Level: "info", Format: "auto"}, "uploader", "v1", &out)
	if err != nil {
		t.Fatal(err)
	}
	log.Debug().Msg("unseen")
	log.Info().Str(logging.JobID, "j").Msg("object stored")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	for field, want := range map[string]any{"service": "uploader", "version": "v1", "job_id": "j", "message": "object stored", "level": "info"} {
		if line[field] != want {
			t.Errorf("%s = %v", field, line[field])
		}
	}
	if at, ok := line["time"].(string); !ok {
		t.Errorf("time %v", line["time"])
	} else if _, err := time.Parse("2006-01-02T15:04:05.000Z", at); err != nil {
		t.Error(err)
	}
}

func TestUnknownSettingsAreRefused(t *testing.T) {
	t.Parallel()
	for _, cfg := range []logging.Config{{Level: "loud", Format: "json"}, {Level: "info", Format: "xml"}} {
		_, err := logging.New(cfg, "s", "v", &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), "is none of ") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestThePathOfARequestCannotFillALog(t *testing.T) {
	t.Parallel()
	key := "sori_0123456789abcdef_" + strings.Repeat("0", 64)
	for path, want := range map[string]string{
		"/jobs/":                                   "/jobs/",
		"/tokens/" + strings.Repeat("a", 15_000):   "/tokens/" + strings.Repeat("a", 504) + "…",
		"/tokens/" + strings.Repeat("é", 15_000):   "/tokens/" + strings.Repeat("é", 252) + "…",
		"/x" + strings.Repeat("é", 15_000):         "/x" + strings.Repeat("é", 255) + "…",
		"/" + strings.Repeat("é", 15_000):          "/" + strings.Repeat("é", 255) + "…", // cut before a character of two bytes, never within one
		"/" + strings.Repeat("a", 480) + "/" + key: "/" + strings.Repeat("a", 480) + "/" + key[:22] + "*",
		"/" + strings.Repeat("a", 500) + "/" + key: "/" + strings.Repeat("a", 500) + "/" + key[:10] + "…",
	} {
		if got := logging.SafePath(path); got != want {
			t.Errorf("%.20s: %q, want %q", path, got, want)
		}
	}
}
