package job

import (
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/locale"
)

// Stage is the current step of a job. It has more values than the status, and is derived from the
// record.
type Stage string

// The stages. Each is named after the event that begins it.
const (
	StageReceived   Stage = "received"   // the job is accepted; its recording is not being stored yet
	StageFetching   Stage = "fetching"   // the recording is being fetched from its URL into the bucket
	StageUploading  Stage = "uploading"  // the recording is being copied from staging into the bucket
	StageStored     Stage = "stored"     // the recording is in the bucket; the analysis server has not accepted the job yet
	StageWaiting    Stage = "waiting"    // the job waits for the analysis server, for a slot, or for the analysis of another job
	StageDispatched Stage = "dispatched" // the analysis server has accepted the job
	StageRefused    Stage = "refused"    // the newest callback of the analysis server was refused
	StageCompleted  Stage = "completed"
	StageFailed     Stage = "failed"
	StageCanceled   Stage = "canceled"
	StageErased     Stage = "erased"
)

// Stages returns all stages.
func Stages() []Stage {
	return []Stage{
		StageReceived, StageFetching, StageUploading, StageStored, StageWaiting, StageDispatched, StageRefused,
		StageCompleted, StageFailed, StageCanceled, StageErased,
	}
}

// Text returns the sentence about a stage that clients get. The parameters next and code are used
// only in StageWaiting: next is the time of the next attempt, which is zero if the job waits for a
// slot or for another job, and code is why the job waits.
func (s Stage) Text(l locale.Language, next time.Time, code string) string {
	switch {
	case s == StageWaiting && code == event.CodeSameRecording:
		return locale.Text(l, locale.Shared)
	case s == StageWaiting && next.IsZero():
		return locale.Text(l, locale.Queued)
	default:
		return locale.TextAt(l, s.message(), next)
	}
}

// message returns the key of the stage's sentence in package locale.
func (s Stage) message() locale.Message {
	switch s {
	case StageFetching:
		return locale.Fetching
	case StageUploading:
		return locale.Uploading
	case StageStored:
		return locale.Stored
	case StageWaiting:
		return locale.Waiting
	case StageDispatched:
		return locale.Dispatched
	case StageRefused:
		return locale.Refused
	case StageCompleted:
		return locale.Completed
	case StageFailed:
		return locale.Failed
	case StageCanceled:
		return locale.Canceled
	case StageErased:
		return locale.Erased
	default:
		return locale.Received
	}
}

// stage derives the stage from the status and, if the job has not ended, from the newest events.
func (r *Record) stage() Stage {
	switch {
	case r.Status == Completed:
		return StageCompleted
	case r.Status == Failed:
		return StageFailed
	case r.Status == Canceled:
		return StageCanceled
	case r.Status == Erased:
		return StageErased
	case r.refused():
		return StageRefused
	case r.waiting():
		return StageWaiting
	case r.Progress >= progressDispatched:
		return StageDispatched
	case r.Progress >= progressStored:
		return StageStored
	case r.FetchSeq > 0 && r.FetchAttempt == r.ProgressAttempt && r.Progress >= progressFetching:
		return StageFetching
	case r.Progress >= progressUploading:
		return StageUploading
	default:
		return StageReceived
	}
}

// refused reports whether a callback of the newest attempt was refused, and nothing newer is known
// about the analysis. Some servers call back before they answer the request: then the event
// `dispatched` is newer than the event `refused`. It does not count as newer here, since the server
// may never report again.
func (r *Record) refused() bool {
	accepted := r.Analysing && r.StageSeq == r.StateSeq // the newest state event is the event dispatched
	return r.RefusalAttempt >= r.Attempt && r.RefusalSeq > r.MessageSeq && (accepted || r.RefusalSeq > r.StateSeq)
}

// waiting reports whether the job waits for the analysis server. The newest waiting event may be
// outdated when it arrives, because the analysis server has accepted the attempt already: it was
// sent by another replica, or the answer to the request was lost.
func (r *Record) waiting() bool {
	accepted := r.Progress >= progressDispatched && r.ProgressAttempt >= r.WaitAttempt
	return r.WaitSeq > r.StateSeq && r.WaitAttempt >= r.Attempt && !accepted
}

// SetStageDetails sets the fields of the snapshot that belong to single stages. It must be called
// after a record is read from the database, which does not store these fields.
func (r *Record) SetStageDetails() {
	r.NextAttemptAt, r.WaitingCode, r.RefusedCode, r.Fetch = time.Time{}, "", "", Fetch{}
	switch r.Stage {
	case StageFetching:
		r.Fetch = r.FetchState
	case StageWaiting:
		r.NextAttemptAt, r.WaitingCode = r.WaitUntil, r.WaitCode
	case StageRefused:
		r.RefusedCode = r.RefusalCode
	}
}
