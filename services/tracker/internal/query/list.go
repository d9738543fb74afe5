package query

import (
	"time"

	"sori.internal/services/tracker/internal/job"
)

// Filter selects jobs for a list. A list begins with the newest job. Jobs with the same time of
// creation are ordered by id, descending.
type Filter struct {
	Statuses []job.Status // without duplicates
	Owner    string       // empty selects any
	TokenID  int64        // 0 selects any
	From     time.Time    // created at this time or later; zero selects any
	Before   time.Time    // created before this time; zero selects any
	After    Cursor       // continues a list after this position; zero begins it
}

// Start returns the position in the list after which the selected jobs begin; zero if they begin at
// the start of the list.
func (f Filter) Start() Cursor {
	before, after := f.Before, f.After.CreatedAt
	if before.IsZero() || !after.IsZero() && after.Before(before) {
		return f.After
	}
	return Cursor{CreatedAt: before} // this position is before every job that was created earlier
}

// Cursor is a position in a list of jobs: directly after the job JobID, which need not exist any
// more. If JobID is empty, it is the position after all jobs that were created at CreatedAt.
type Cursor struct {
	CreatedAt time.Time
	JobID     string
}

// Listed is a job in a list: its snapshot without the result, and its recording.
type Listed struct {
	job.Snapshot
	Attempt   int
	MediaType string
	Size      int64
	Duration  float64 // seconds; 0 if unknown
}

// Cursor returns the position of the job.
func (l Listed) Cursor() Cursor { return Cursor{CreatedAt: l.CreatedAt, JobID: l.JobID} }
