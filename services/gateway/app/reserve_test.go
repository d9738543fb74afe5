package app_test

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// gauge reads a metric of the gateway.
func (g *env) gauge(name string) float64 {
	g.t.Helper()
	for line := range strings.Lines(g.metrics()) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				g.t.Fatal(err)
			}
			return v
		}
	}
	g.t.Fatalf("no metric is called %s", name)
	return 0
}

// fill appends events to a job until the used fraction of the log, from 0 to 1, is at least the
// parameter full.
func (g *env) fill(job string, full float64) {
	g.t.Helper()
	for {
		info, err := g.bus.Stream(event.Jobs()).Info(g.kit.Context())
		if err != nil {
			g.t.Fatal(err)
		}
		if info.Used >= full {
			return
		}
		_, err = g.jobs.Append(g.kit.Context(), event.Attempted{JobID: job, Attempt: int(info.LastSeq)}, info.LastSeq)
		if err != nil {
			g.t.Fatalf("at %v: %v", info.Used, err)
		}
	}
}

func TestUploadsKeepAReserveForAcceptedJobs(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"JOBS_MAX_BYTES": "40000", "UPLOAD_RESERVE": "0.5"})
	file := part{name: "file", file: "a.wav", content: wav(1000)}
	job := g.checkAccepted(g.uploadWithKey("k", file.content), false)
	g.fill(job, 0.5)
	testkit.Eventually(t, func() error {
		if full := g.gauge("sori_log_full_ratio"); full < 0.5 || full > 0.6 {
			return fmt.Errorf("the log is full to %v", full)
		}
		return nil
	})
	g.problem(g.upload(nil, file), 503, "bus-full")
	g.problem(g.uploadWithKey("another", file.content), 503, "bus-full")
	g.awaitCondition(`1 = (SELECT count(*) FROM catalogue.upload_keys)`)
	if again := g.checkAccepted(g.uploadWithKey("k", file.content), true); again != job { // a repeated upload is answered although the log is full
		t.Errorf("job %s became %s", job, again)
	}
	if r := g.do("GET", "/readyz", nil, nil); r.StatusCode != http.StatusOK {
		t.Errorf("readyz: %s", r.Status)
	}
	g.fill(job, 0.95) // the events of an accepted job may use the reserve
	entries, err := g.staging.Entries(g.kit.Context())
	if want := map[string]int{job: 1}; err != nil || !maps.Equal(entries, want) {
		t.Errorf("staged are %v, want %v, %v", entries, want, err)
	}

	stream, err := g.kit.JetStream().Stream(g.kit.Context(), g.kit.Namespace().Stream(event.Jobs().Name))
	if err == nil {
		err = stream.Purge(g.kit.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, func() error {
		if r := g.upload(nil, file); r.StatusCode != http.StatusAccepted {
			return fmt.Errorf("when there is room: %s: %s", r.Status, r.text)
		}
		return nil
	})
}

func TestUploadsKeepAReserveOfStagingForResults(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"STAGING_MAX_BYTES": "2000000", "UPLOAD_RESERVE": "0.5"})
	file := part{name: "file", file: "a.wav", content: wav(1_100_000)}
	g.checkAccepted(g.upload(nil, file), false)
	testkit.Eventually(t, func() error {
		if full := g.gauge("sori_staging_full_ratio"); full < 0.5 {
			return fmt.Errorf("staging is full to %v", full)
		}
		return nil
	})
	file.content = wav(100)
	g.problem(g.upload(nil, file), 503, "bus-full")
	if _, err := g.staging.Put(g.kit.Context(), event.ResultEntry(g.kit.NewJob()), strings.NewReader("{}")); err != nil {
		t.Errorf("a result: %v", err)
	}
}
