package job

import "time"

// Retention is how long the data of a job is kept after the job has ended; 0 means forever.
type Retention struct {
	Result time.Duration // the whole job
	Audio  time.Duration // the recording
}

// AudioExpiry returns when the recording of a job will be deleted. It returns the zero time if the
// job has not ended or has no recording, or if the recording is kept forever.
func (r Retention) AudioExpiry(s Snapshot) time.Time {
	keep := r.Audio
	if keep == 0 || r.Result > 0 && r.Result < keep {
		keep = r.Result // erasing the job also deletes its recording
	}
	stored := s.Progress >= progressStored
	if keep == 0 || !stored || s.EndedAt.IsZero() || !s.AudioDeletedAt.IsZero() {
		return time.Time{}
	}
	return s.EndedAt.Add(keep)
}
