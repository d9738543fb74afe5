package app_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"sori.internal/services/uploader/app"
	"sori.internal/shared/config"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/testkit"
)

func TestTheReadmeListsTheSettings(t *testing.T) {
	t.Parallel()
	testkit.CheckSettings(t, "../README.md", &app.Config{})
}

func TestEveryBadSettingIsReportedAtOnceAndNoSecretShown(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := app.Run(t.Context(), lifecycle.Process{Stderr: &out, Lookup: config.Map(map[string]string{
		"NATS_URL": "nats://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hunter2",
		"UPLOAD_CONCURRENCY": "0", "SWEEP_INTERVAL": "-1s", "SHUTDOWN_GRACE": "-1s", "JOBS_MAX_AGE": "4m", // shorter than the default of UPLOAD_EXPIRY
	})})
	if err == nil {
		t.Fatal("it started")
	}
	for _, name := range []string{"S3_BUCKET_NAME", "UPLOAD_CONCURRENCY", "SWEEP_INTERVAL", "SHUTDOWN_GRACE must not be negative", "JOBS_MAX_AGE must be at least 5m", "UPLOAD_EXPIRY must not be longer than JOBS_MAX_AGE"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not reported: %v", name, err)
		}
	}
	if strings.Contains(err.Error()+out.String(), "hunter2") {
		t.Error("a secret is shown")
	}
}

func get(t *testing.T, url string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	must(t, err)
	var body map[string]any
	_ = json.Unmarshal(raw, &body) // the answer may not be JSON, such as the metrics
	return resp.StatusCode, body
}

func TestItAnswersInfoHealthAndMetrics(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	i := env.run(nil)
	env.Settled(consumer)
	for path, want := range map[string]string{
		"/readyz": "ok", "/livez": "ok", "/health": "healthy",
	} {
		if code, body := get(t, i.URL+path); code != http.StatusOK || body["status"] != want {
			t.Errorf("%s: %d %v", path, code, body)
		}
	}
	if code, body := get(t, i.URL+"/"); code != http.StatusOK || body["name"] != "sori-uploader" {
		t.Errorf("%d %v", code, body)
	}
	if code, _ := get(t, i.Admin(t)+"/metrics"); code != http.StatusOK {
		t.Errorf("metrics: %d", code)
	}
}

func TestItMakesItsBucketAndItsStreamsIfThereAreNone(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	client, bucket := k.Bucket() // Bucket makes the bucket, and removes it after the test
	must(t, client.RemoveBucket(k.Context(), bucket))
	k.Run(app.Run, nil)
	k.Settled(consumer)
	if exists, err := client.BucketExists(k.Context(), bucket); err != nil || !exists {
		t.Errorf("%v %v", exists, err)
	}
}
