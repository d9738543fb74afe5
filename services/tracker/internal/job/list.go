package job

import "time"

// Statuses are all of them.
func Statuses() []Status { return []Status{Processing, Completed, Failed, Canceled} }

// Filter chooses jobs. A list of them begins with the newest; of those that came
// at the same time the one with the greater id is first.
type Filter struct {
	Statuses []Status  // each at most once
	TokenID  int64     // 0 is any
	From     time.Time // came then or later; zero is at any time
	Before   time.Time // came earlier than that; zero is at any time
	Behind   Place     // stand behind this place; zero is anywhere
}

// Start is the place that all chosen jobs stand behind; zero where there is none.
func (f Filter) Start() Place {
	before, behind := f.Before, f.Behind.CreatedAt
	if before.IsZero() || !behind.IsZero() && behind.Before(before) {
		return f.Behind
	}
	return Place{CreatedAt: before} // before every job of that time
}

// Place is where a job stands in a list, whether it is there or not. Without an
// id it is behind all jobs of its time.
type Place struct {
	CreatedAt time.Time
	JobID     string
}

// Listed is a job as lists show it: its snapshot without the result, and what is
// known of its recording.
type Listed struct {
	Snapshot
	Attempt   int
	FileName  string
	MediaType string
	Size      int64
	Duration  float64 // seconds; 0 where unknown
}

// Place is where the job stands.
func (l Listed) Place() Place { return Place{CreatedAt: l.CreatedAt, JobID: l.JobID} }
