package app

import (
	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/metrics"
)

// otherCode is the label of all codes that this release does not know, such as those that analysis
// servers define themselves: there may be any number of them.
const otherCode = "other"

// countEnds registers the counter of ended jobs, and returns the function that counts an end. All
// time series begin at 0: otherwise Prometheus could not see that the first job has failed with a
// code.
func countEnds(counts *metrics.Registry) func(job.Snapshot) {
	ended := counts.CounterVec("sori_jobs_ended_total", "jobs that have ended, by status and, if they failed, by code", "status", "code")
	for _, status := range []job.Status{job.Completed, job.Canceled, job.Erased} {
		ended.WithLabelValues(string(status), "")
	}
	for _, known := range event.FailureCodes() {
		ended.WithLabelValues(string(job.Failed), known.Code)
	}
	ended.WithLabelValues(string(job.Failed), otherCode)
	return func(s job.Snapshot) {
		code := s.Error.Code
		if _, known := event.FailureCodeOf(code); !known && s.Status == job.Failed {
			code = otherCode
		}
		ended.WithLabelValues(string(s.Status), code).Inc()
	}
}
