package query

import (
	"context"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/fault"
)

// Recording has the location and the properties of a job's recording.
type Recording struct {
	Bucket    string
	Key       string
	FileName  string
	MediaType string
	Duration  float64 // seconds; 0 if unknown
	Deleted   bool    // the recording was deleted because its retention had passed
}

// Recording returns the location of a job's recording. It fails with fault.Gone if the recording or
// the job was deleted, and with fault.NotFound if the recording is not stored.
func (r *Reader) Recording(ctx context.Context, id string) (Recording, error) {
	recording, err := r.rows.Recording(ctx, id)
	if err == nil && recording.Deleted {
		return Recording{}, fault.New(fault.Gone, "audio-deleted", "The job's recording was deleted when its retention was over.")
	}
	if err != nil || recording.Key != "" {
		return recording, err
	}
	switch s, err := r.Find(ctx, id); { // finds out why there is no key: also for a job that is not recorded yet
	case err != nil:
		return Recording{}, err
	case s.Status == job.Erased:
		return Recording{}, job.Gone()
	default:
		return Recording{}, fault.New(fault.NotFound, "audio-not-stored", "The job's audio is not stored, or not yet.")
	}
}
