package query

import (
	"time"

	"sori.internal/services/tracker/internal/job"
)

// Filter selects jobs. A list begins with the newest job; of jobs that were created at the same
// time the one with the greater id is first.
type Filter struct {
	Statuses []job.Status // each at most once
	Owner    string       // empty selects any
	TokenID  int64        // 0 selects any
	From     time.Time    // created then or later; zero selects any
	Before   time.Time    // created earlier; zero selects any
	After    Cursor       // continues a list after this position; zero begins it
}

// Start is the position that all selected jobs come after; zero if there is none.
func (f Filter) Start() Cursor {
	before, after := f.Before, f.After.CreatedAt
	if before.IsZero() || !after.IsZero() && after.Before(before) {
		return f.After
	}
	return Cursor{CreatedAt: before} // before every job of that time
}

// Cursor is a position in a list of jobs, whether the job still exists or not. Without an id it is
// after all jobs of its time.
type Cursor struct {
	CreatedAt time.Time
	JobID     string
}

// Listed is a job as lists show it: its snapshot without the result, and its recording.
type Listed struct {
	job.Snapshot
	Attempt   int
	FileName  string
	MediaType string
	Size      int64
	Duration  float64 // seconds; 0 if unknown
}

// Cursor is the job's position.
func (l Listed) Cursor() Cursor { return Cursor{CreatedAt: l.CreatedAt, JobID: l.JobID} }
