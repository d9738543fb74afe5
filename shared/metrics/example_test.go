package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"sori.internal/shared/metrics"
)

func ExampleRegistry() {
	registry := metrics.New()
	registry.Gauge("sori_uploads_active", "uploads that are under way", func() float64 { return 3 })

	answer := httptest.NewRecorder()
	registry.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	for line := range strings.Lines(answer.Body.String()) {
		if strings.Contains(line, "sori_uploads_active") {
			fmt.Print(line)
		}
	}
	// Output:
	// # HELP sori_uploads_active uploads that are under way
	// # TYPE sori_uploads_active gauge
	// sori_uploads_active 3
}
