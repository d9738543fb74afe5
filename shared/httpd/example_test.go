package httpd_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/rs/zerolog"

	"sori.internal/shared/fault"
	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/metrics"
)

// A handler returns an error, and the mux responds with a problem document.
func ExampleMux() {
	mux := httpd.NewMux(httpd.Info{Name: "example"}, health.New(nil, zerolog.Nop()), metrics.New(), zerolog.Nop())
	mux.Handle("GET /jobs/{id}", func(w http.ResponseWriter, r *http.Request) error {
		if r.PathValue("id") != "1" {
			return fault.New(fault.NotFound, "job-not-found", "There is no such job.")
		}
		return httpd.JSON(w, http.StatusOK, map[string]string{"status": "completed"})
	})
	for _, path := range []string{"/jobs/1", "/jobs/1/", "/jobs/2"} {
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		fmt.Println(path, answer.Code, answer.Header().Get("Content-Type"))
	}
	// Output:
	// /jobs/1 200 application/json
	// /jobs/1/ 200 application/json
	// /jobs/2 404 application/problem+json
}
