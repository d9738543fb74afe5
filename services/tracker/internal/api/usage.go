package api

import (
	"context"
	"net/http"
	"time"

	"sori.internal/services/tracker/internal/query"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/principal"
)

// Usages sums the usage of owners.
type Usages interface {
	// Usage returns the usage of an owner's jobs, and which of the given jobs of the owner are
	// recorded. It does not count the logs of jobs that were created before the day of logsFrom.
	Usage(ctx context.Context, owner string, logsFrom time.Time, jobs []string) (query.Usage, error)
}

// usagePath is a route for the gateway only. The gateway does not forward it: it answers its
// clients itself, with the usage and with the budgets, which only the gateway knows.
const usagePath = "/internal/usage"

// maxUsageJobs is the number of jobs that a request may name.
const maxUsageJobs = 256

// usageBody is the response to GET /internal/usage.
type usageBody struct {
	Jobs        int64    `json:"jobs"`
	StagedBytes int64    `json:"staged_bytes"`
	StoredBytes int64    `json:"stored_bytes"`
	LogBytes    int64    `json:"log_bytes"`
	Recorded    []string `json:"recorded"` // the jobs named in the query that the sums include
}

// usage responds with the usage of the principal's jobs. The parameter job, which may be repeated,
// names jobs that the gateway has accepted and that may not be recorded yet.
func (a *API) usage(w http.ResponseWriter, r *http.Request) error {
	jobs := r.URL.Query()["job"]
	if len(jobs) > maxUsageJobs {
		return fault.MalformedRequest("The query of the request is malformed.", nil)
	}
	for _, id := range jobs {
		if _, ok := event.ParseJobID(id); !ok {
			return fault.MalformedRequest("The query of the request is malformed.", nil)
		}
	}
	u, err := a.Usages.Usage(r.Context(), principal.From(r.Context()).Owner, time.Now().Add(-a.opt.LogMaxAge), jobs)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return httpd.JSON(w, http.StatusOK, usageBody{
		Jobs: u.Jobs, StagedBytes: u.StagedBytes, StoredBytes: u.StoredBytes, LogBytes: u.LogBytes,
		Recorded: append([]string{}, u.Recorded...), // never null in JSON
	})
}
