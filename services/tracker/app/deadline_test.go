package app_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sori.internal/services/tracker/app"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/lifecycle"
)

func TestAClientSeesThatADeadlineIsOver(t *testing.T) {
	t.Parallel()
	c := open(t, map[string]string{
		"DISPATCH_DEADLINE": "1s", "ANALYSIS_DEADLINE_FACTOR": "0.1", "ANALYSIS_DEADLINE_MIN": "100ms", "ANALYSIS_DEADLINE_MAX": "1m", "DEADLINE_SWEEP_INTERVAL": "50ms",
	})
	c.replica(map[string]string{ // both replicas sweep
		"DISPATCH_DEADLINE": "1s", "ANALYSIS_DEADLINE_FACTOR": "0.1", "ANALYSIS_DEADLINE_MIN": "100ms", "ANALYSIS_DEADLINE_MAX": "1m", "DEADLINE_SWEEP_INTERVAL": "50ms",
	})
	waiting, analysed := c.job(), c.job()
	waiting.received()
	analysed.received()
	analysed.stored() // the recording has two seconds, so the analysis may take 0.2 s
	analysed.attempted(1)
	analysed.dispatched(1)
	for j, code := range map[*testJob]string{waiting: "dispatch-timeout", analysed: "analysis-timeout"} {
		rest := j.stream(j.progressURL(), nil).rest()
		if end := rest[len(rest)-1]; end.body.Status != "failed" || !strings.Contains(string(end.body.Error), `"code":"`+code+`"`) {
			t.Errorf("the end: %s", end.data)
		}
	}
	analysed.asks("retry", http.StatusAccepted, isProcessing)
	if story := c.EventNames(c.bus, analysed.id); !slices.Contains(story, event.NameLapsed) || !slices.Contains(story, event.NameRetried) {
		t.Errorf("story %v", story)
	}
}

func TestEveryBadSettingIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := app.Run(t.Context(), lifecycle.Process{Stderr: &out, Lookup: config.Map(map[string]string{
		"NATS_URL": "nats://127.0.0.1:1", "DATABASE_URL": "postgres://127.0.0.1:1/x", "SSE_HEARTBEAT": "0s", "BATCH_SIZE": "0", "DISPATCH_DEADLINE": "0s",
		"ANALYSIS_DEADLINE_FACTOR": "0", "ANALYSIS_DEADLINE_MIN": "3h", "DEADLINE_SWEEP_INTERVAL": "-1s", "DATABASE_MAX_CONNECTIONS": "1",
		"RESULT_RETENTION": "-1s", "AUDIO_RETENTION": "-1s", "SHUTDOWN_GRACE": "-1s", "JOBS_MAX_AGE": "2h", // the default of ANALYSIS_DEADLINE_MAX
	})})
	if err == nil {
		t.Fatal("it started")
	}
	for _, name := range []string{
		"SSE_HEARTBEAT", "BATCH_SIZE", "DISPATCH_DEADLINE", "ANALYSIS_DEADLINE_FACTOR", "ANALYSIS_DEADLINE_MIN", "DEADLINE_SWEEP_INTERVAL", "DATABASE_MAX_CONNECTIONS",
		"RESULT_RETENTION", "AUDIO_RETENTION", "SHUTDOWN_GRACE", "JOBS_MAX_AGE must be longer than DISPATCH_DEADLINE",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not reported: %v", name, err)
		}
	}
}

func TestAHugeBatchIsRefused(t *testing.T) {
	t.Parallel()
	err := app.Run(t.Context(), lifecycle.Process{Stderr: io.Discard, Lookup: config.Map(map[string]string{
		"NATS_URL": "nats://127.0.0.1:1", "DATABASE_URL": "postgres://127.0.0.1:1/x", "BATCH_SIZE": "10001",
		"DATABASE_MAX_CONNECTIONS": "1", // refused, too, so that the tracker never starts
	})})
	if err == nil || !strings.Contains(err.Error(), "BATCH_SIZE must be from 1 to 10000") {
		t.Errorf("%v", err)
	}
}
