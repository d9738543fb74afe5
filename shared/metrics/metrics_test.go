package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/metrics"
)

// served returns the metrics that a registry serves.
func served(t *testing.T, r *metrics.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	return w.Body.String()
}

func TestEventsAndRequestsAreCountedByTheirLabels(t *testing.T) {
	t.Parallel()
	r := metrics.New()
	for range 2 {
		r.Events.Observe("tester", "ack", time.Millisecond)
	}
	r.Events.Observe("tester", "retry", time.Second)
	r.Requests.Observe("GET /jobs/:id", "GET", http.StatusNotFound, 20*time.Millisecond)
	for _, method := range []string{"A", "B", "any"} {
		r.Requests.Observe("/", method, http.StatusNotFound, time.Millisecond)
	}
	r.Counter("sori_test_total", "things").Add(3)
	r.CounterVec("sori_test_kinds_total", "things by kind", "kind").WithLabelValues("a").Inc()
	text := served(t, r)
	for _, line := range []string{
		`sori_event_seconds_count{consumer="tester",outcome="ack"} 2`,
		`sori_event_seconds_count{consumer="tester",outcome="retry"} 1`,
		`sori_event_seconds_bucket{consumer="tester",outcome="retry",le="0.5"} 0`,
		`sori_event_seconds_bucket{consumer="tester",outcome="retry",le="2"} 1`,
		`sori_http_request_seconds_count{method="GET",route="GET /jobs/:id",status="404"} 1`,
		`sori_http_request_seconds_count{method="any",route="/",status="404"} 3`,
		`sori_test_total 3`,
		`sori_test_kinds_total{kind="a"} 1`,
		"# TYPE go_goroutines gauge",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is not served", line)
		}
	}
}

func TestEachDependencyHasAGauge(t *testing.T) {
	t.Parallel()
	r := metrics.New()
	r.Dependencies(func() map[string]bool { return map[string]bool{"bus": true, "database": false} })
	text := served(t, r)
	for _, line := range []string{`sori_dependency_ready{dependency="bus"} 1`, `sori_dependency_ready{dependency="database"} 0`} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is not served", line)
		}
	}
}

func TestWhoeverHasNoMetricsCountsNothing(t *testing.T) {
	t.Parallel()
	var none *metrics.Events
	none.Observe("tester", "ack", time.Second)
}

func TestRegistriesOfOneProcessDoNotShareMetrics(t *testing.T) {
	t.Parallel()
	first, second := metrics.New(), metrics.New()
	first.Events.Observe("tester", "ack", time.Second)
	if strings.Contains(served(t, second), "tester") {
		t.Error("the second registry counts what the first observes")
	}
}
