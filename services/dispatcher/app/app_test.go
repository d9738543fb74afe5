package app_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sori.internal/services/dispatcher/app"
	"sori.internal/shared/config"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/testkit"
)

func TestTheReadmeListsTheSettings(t *testing.T) {
	t.Parallel()
	testkit.CheckSettings(t, "../README.md", &app.Config{})
}

func start(t *testing.T, changes map[string]string) (output string) {
	t.Helper()
	settings := map[string]string{
		"NATS_URL": "nats://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hunter2", "S3_BUCKET_NAME": "b",
		"TARGET_SERVER_URL": "http://analysis", "WEBHOOK_URL": public, "WEBHOOK_SECRET": "hunter2-hunter2-hunter2",
	}
	for name, value := range changes {
		settings[name] = value
	}
	var out bytes.Buffer
	err := app.Run(t.Context(), lifecycle.Process{Stderr: &out, Lookup: config.Map(settings)})
	if err == nil {
		t.Fatal("it started")
	}
	if output = err.Error() + out.String(); strings.Contains(output, "hunter2") {
		t.Errorf("a secret is shown: %s", output)
	}
	return output
}

func TestEveryBadSettingIsReportedAtOnceAndNoSecretShown(t *testing.T) {
	t.Parallel()
	output := start(t, map[string]string{
		"S3_BUCKET_NAME": "", "WEBHOOK_SECRET": "hunter2", "TARGET_SERVER_URL": "analysis:8000", "WEBHOOK_URL": "/webhook",
		"ANALYSIS_CONCURRENCY": "0", "MAX_WEBHOOK_BYTES": "-1", "ANALYSIS_URL_VALID": "1ms", "ANALYSIS_REQUEST_TIMEOUT": "0s",
		"ANALYSIS_REQUEST_FORMAT": "xml", "ANALYSIS_URL_STYLE": "ftp", "DEFAULT_LANGUAGE": "fr", "SHUTDOWN_GRACE": "-1s",
		"WEBHOOK_SECRET_ROTATION": "hunter2", "WEBHOOK_URL_VALID": "0s", "WEBHOOK_SIGNING_SECRETS": "whsec_hunter2",
		"ANALYSIS_MAX_ATTEMPTS": "0", "ANALYSIS_POLL_INTERVAL": "0s", "ANALYSIS_BREAKER_FAILURES": "0", "ANALYSIS_BREAKER_DELAY": "0s",
		"PRINCIPAL_SECRET": "hunter2", "RESULT_CACHE_TTL": "1ms", "ANALYSIS_MAX_RUNNING": "1001",
	})
	for _, name := range []string{
		"S3_BUCKET_NAME", "WEBHOOK_SECRET", "TARGET_SERVER_URL", "WEBHOOK_URL", "ANALYSIS_CONCURRENCY", "MAX_WEBHOOK_BYTES",
		"ANALYSIS_URL_VALID", "ANALYSIS_REQUEST_TIMEOUT", "xml", "ftp", "fr", "SHUTDOWN_GRACE", "ANALYSIS_MAX_ATTEMPTS", "ANALYSIS_POLL_INTERVAL",
		"ANALYSIS_BREAKER_FAILURES", "ANALYSIS_BREAKER_DELAY", "WEBHOOK_SECRET_ROTATION", "WEBHOOK_URL_VALID", "WEBHOOK_SIGNING_SECRETS",
		"PRINCIPAL_SECRET", "RESULT_CACHE_TTL", "ANALYSIS_MAX_RUNNING",
	} {
		if !strings.Contains(output, name) {
			t.Errorf("%s is not reported: %s", name, output)
		}
	}
}

func TestAnAddressThatCannotBeReadIsNotShown(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"ANALYSIS_STATUS_URL": "http://user:hunter2@host/status", "TARGET_SERVER_URL": "http://user:hunter2@host:port/", "WEBHOOK_URL": "http://user:hunter2@%zz/", "NATS_URL": "nats://user:hunter2@host:port",
	} {
		start(t, map[string]string{name: value})
	}
}

func TestItAnswersInfoHealthAndMetrics(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	bus := env.Proxy(env.Settings(nil)["NATS_URL"])
	i := env.run(map[string]string{"NATS_URL": bus.URL})
	readiness(t, i.URL, http.StatusOK)
	bus.Cut()
	readiness(t, i.URL, http.StatusServiceUnavailable)
	for _, path := range []string{"/livez", "/health", "/"} {
		if resp, err := http.Get(i.URL + path); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %v %v", path, resp, err)
		} else {
			_ = resp.Body.Close()
		}
	}
	if text := fetch(t, i.Admin(t)+"/metrics"); !strings.Contains(text, isOpen) {
		t.Errorf("the metrics: %s", text)
	}
	bus.Restore()
	readiness(t, i.URL, http.StatusOK)
}

func readiness(t *testing.T, url string, want int) {
	t.Helper()
	testkit.Eventually(t, func() error {
		resp, err := http.Get(url + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			return fmt.Errorf("readiness is %d", resp.StatusCode)
		}
		return nil
	})
}
