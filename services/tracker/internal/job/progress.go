package job

import "sori.internal/shared/event"

// The progress of a job in percent, at the beginning of each stage. progressUploadEnd is the
// largest progress until the recording is stored, and progressAnalysisEnd until the job is
// completed.
const (
	progressReceived    = 10
	progressFetching    = 20
	progressUploading   = 40
	progressUploadEnd   = 69
	progressStored      = 70
	progressDispatched  = 90
	progressAnalysisEnd = 99
	progressCompleted   = 100
)

// raiseProgress sets the progress if the attempt is newer than that of the current progress, or if
// the attempt is the same and the progress is greater.
func (r *Record) raiseProgress(attempt, progress int) {
	if r.Status == Completed {
		return
	}
	if attempt > r.ProgressAttempt {
		r.ProgressAttempt, r.Progress, r.Message, r.MessageSeq, r.AnalysisJobID = attempt, progress, "", 0, ""
	} else if attempt == r.ProgressAttempt {
		r.Progress = max(r.Progress, progress)
	}
}

func fetchProgress(ev event.Fetching) int {
	return interpolate(progressFetching, progressUploadEnd, ev.Bytes, ev.Size)
}

func uploadProgress(ev event.Uploading) int {
	return interpolate(progressUploading, progressUploadEnd, ev.Bytes, ev.Size)
}

func analysisProgress(ev event.Progressed) int {
	return interpolate(progressDispatched, progressAnalysisEnd, int64(ev.Percent), 100)
}

// interpolate maps part/whole, a value from 0 to 1, linearly to the range from..to. An analysis
// server may send a value out of range, which is mapped to the nearest end. If whole is 0, the
// result is from.
func interpolate(from, to int, part, whole int64) int {
	if part <= 0 || whole <= 0 {
		return from
	}
	return from + int(float64(to-from)*min(1, float64(part)/float64(whole)))
}
