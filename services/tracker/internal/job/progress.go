package job

import "sori.internal/shared/event"

// The progress of each stage at its beginning, in percent, and the highest progress within a stage.
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

// raiseProgress sets the progress if the attempt is newer, or if the value is greater within the
// same attempt.
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

// interpolate maps part, from 0 to whole, to the range from..to. A value out of range, which an
// analysis server may send, is mapped to the nearest end of the range.
func interpolate(from, to int, part, whole int64) int {
	if part <= 0 || whole <= 0 {
		return from
	}
	return from + int(float64(to-from)*min(1, float64(part)/float64(whole)))
}
