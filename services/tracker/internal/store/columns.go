package store

import (
	"time"

	"github.com/lib/pq"

	"sori.internal/services/tracker/internal/job"
)

// columns turns records into one array for each parameter of update, in its
// order.
func columns(records []job.Record) []any {
	return []any{
		column(records, func(r job.Record) string { return r.JobID }),
		column(records, func(r job.Record) *int64 { return where(!r.CreatedAt.IsZero(), r.TokenID) }),
		column(records, func(r job.Record) string { return string(r.Status) }),
		column(records, func(r job.Record) string { return string(r.Stage) }),
		column(records, func(r job.Record) string { return r.Message }),
		column(records, func(r job.Record) int64 { return int64(r.Progress) }),
		column(records, func(r job.Record) int64 { return r.Version }),
		column(records, func(r job.Record) *string { return where(r.Status == job.Failed, r.Error.Code) }),
		column(records, func(r job.Record) *string { return where(r.Status == job.Failed, r.Error.Detail) }),
		column(records, func(r job.Record) *bool { return where(r.Status == job.Failed, r.Error.Retryable) }),
		column(records, func(r job.Record) *string { return timestamp(r.CreatedAt) }),
		column(records, func(r job.Record) *string { return timestamp(r.UpdatedAt) }),
		column(records, func(r job.Record) *string { return where(r.Result != "", string(r.Result)) }),
		column(records, func(r job.Record) int64 { return int64(r.StateSeq) }),
		column(records, func(r job.Record) int64 { return int64(r.Attempt) }),
		column(records, func(r job.Record) int64 { return int64(r.Climbed) }),
		column(records, func(r job.Record) int64 { return int64(r.MessageSeq) }),
		column(records, func(r job.Record) string { return r.FileName }),
		column(records, func(r job.Record) string { return r.MediaType }),
		column(records, func(r job.Record) string { return r.Bucket }),
		column(records, func(r job.Record) string { return r.Key }),
		column(records, func(r job.Record) int64 { return r.Size }),
		column(records, func(r job.Record) string { return r.SHA256 }),
		column(records, func(r job.Record) float64 { return r.Duration }),
		column(records, func(r job.Record) string { return r.AnalysisJobID }),
		column(records, func(r job.Record) int64 { return int64(r.StageSeq) }),
		column(records, func(r job.Record) *string { return timestamp(r.StageAt) }),
		column(records, func(r job.Record) bool { return r.Analysing }),
		column(records, func(r job.Record) int64 { return int64(r.WaitSeq) }),
		column(records, func(r job.Record) int64 { return int64(r.WaitAttempt) }),
		column(records, func(r job.Record) *string { return timestamp(r.WaitUntil) }),
		column(records, func(r job.Record) int64 { return int64(r.RefusedSeq) }),
		column(records, func(r job.Record) int64 { return int64(r.RefusedAttempt) }),
		column(records, func(r job.Record) string { return r.RefusedCode }),
	}
}

func column[T any](records []job.Record, of func(job.Record) T) any {
	values := make([]T, len(records))
	for i, r := range records {
		values[i] = of(r)
	}
	return pq.Array(values)
}

// where gives a value that is NULL unless the condition holds.
func where[T any](holds bool, v T) *T {
	if !holds {
		return nil
	}
	return &v
}

func timestamp(t time.Time) *string { return where(!t.IsZero(), t.Format(time.RFC3339Nano)) }
