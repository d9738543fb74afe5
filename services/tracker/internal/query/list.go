package query

import (
	"time"

	"sori.internal/services/tracker/internal/job"
)

// Filter selects the jobs of a list. Lists are sorted by time of creation, newest first, and then
// by id, descending.
type Filter struct {
	Statuses []job.Status // without duplicates
	Owner    string       // empty selects any
	TokenID  int64        // 0 selects any
	From     time.Time    // only jobs created at this time or later; zero selects any
	Before   time.Time    // only jobs created before this time; zero selects any
	After    Cursor       // only jobs after this position; zero selects any
}

// Start returns the position after which the first selected job may be; zero if that is the
// beginning of the list. It combines Before and After.
func (f Filter) Start() Cursor {
	before, after := f.Before, f.After.CreatedAt
	if before.IsZero() || !after.IsZero() && after.Before(before) {
		return f.After
	}
	return Cursor{CreatedAt: before} // all jobs created before this time follow this position
}

// Cursor is a position in a list: directly after the job JobID, which need not exist any more. If
// JobID is empty, the position is after all jobs that were created at CreatedAt.
type Cursor struct {
	CreatedAt time.Time
	JobID     string
}

// Listed is a job in a list: its snapshot without the result, and properties of its recording.
type Listed struct {
	job.Snapshot
	Attempt   int
	MediaType string
	Size      int64
	Duration  float64 // seconds; 0 if unknown
}

// Cursor returns the position of the job.
func (l Listed) Cursor() Cursor { return Cursor{CreatedAt: l.CreatedAt, JobID: l.JobID} }
