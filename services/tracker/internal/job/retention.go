package job

import "time"

// Retention is how long the data of a job is kept after its end. A field of 0 means forever.
type Retention struct {
	Result time.Duration // the whole job
	Audio  time.Duration // the recording
}

// AudioExpiry returns when the recording of a job will be deleted. It is zero if the job has not
// ended, or has no recording, or if the recording is kept forever.
func (r Retention) AudioExpiry(s Snapshot) time.Time {
	keep := r.Audio
	if keep == 0 || r.Result > 0 && r.Result < keep {
		keep = r.Result // the recording of an erased job is deleted too
	}
	stored := s.Progress >= progressStored
	if keep == 0 || !stored || s.EndedAt.IsZero() || !s.AudioDeletedAt.IsZero() {
		return time.Time{}
	}
	return s.EndedAt.Add(keep)
}
