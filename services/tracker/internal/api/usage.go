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

// Usages computes the usage of owners.
type Usages interface {
	// Usage returns the sums over an owner's jobs, and which of the given jobs are recorded and
	// belong to the owner. The size of logs does not include jobs that were created before the day
	// of logsFrom.
	Usage(ctx context.Context, owner string, logsFrom time.Time, jobs []string) (query.Usage, error)
}

// usagePath is a route that only the gateway requests. The gateway does not forward clients'
// requests to it, but answers them itself: it adds the budgets, which only the gateway knows.
const usagePath = "/internal/usage"

// maxUsageJobs is the largest number of jobs in the query of a request.
const maxUsageJobs = 256

// usageBody is the response to GET /internal/usage.
type usageBody struct {
	Jobs        int64    `json:"jobs"`
	StagedBytes int64    `json:"staged_bytes"`
	StoredBytes int64    `json:"stored_bytes"`
	LogBytes    int64    `json:"log_bytes"`
	Recorded    []string `json:"recorded"` // the jobs from the query that are recorded, and included in the sums
}

// usage responds with the usage of the principal. The query parameter job, which may be repeated,
// is a job that the gateway has accepted and that may not be recorded yet.
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
		Recorded: append([]string{}, u.Recorded...), // [] instead of null if there is none
	})
}
