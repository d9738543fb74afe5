package job

import (
	"cmp"
	"slices"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/locale"
)

// Entry is an event at its place in the stream.
type Entry struct {
	Event  event.Event
	Seq    uint64
	Time   time.Time
	Result Result // of a Completed: its result, wherever it travelled
}

// Record is all that is known of a job. Fields below the snapshot are facts that
// no viewer sees, or what Merge needs to know where an event that comes late
// belongs. A record without CreatedAt has not seen its received yet: it is not
// shown, and its version is 0.
type Record struct {
	Snapshot

	StateSeq   uint64 // of the state event that the status is from
	Attempt    int    // the greatest that any state event told
	Climbed    int    // the attempt that the progress is of; 0 before the analysis
	MessageSeq uint64 // of the event that the message is from

	StageSeq  uint64    // of the event that a deadline counts from
	StageAt   time.Time // when that was
	Analysing bool      // the analysis server has taken the job: the other deadline

	WaitSeq     uint64    // of the newest wait of the newest attempt that had one
	WaitAttempt int       // that attempt
	WaitUntil   time.Time // the end of that wait

	RefusedSeq     uint64 // of the newest refused callback of the newest attempt that had one
	RefusedAttempt int    // that attempt
	RefusedCode    string // why it was refused

	FileName      string
	MediaType     string
	Bucket        string
	Key           string
	Size          int64
	SHA256        string
	Duration      float64 // seconds; 0 where unknown
	AnalysisJobID string  // the analysis server's own id
}

// New makes the record of a job of which nothing is known.
func New(id string) Record {
	return Record{Snapshot: Snapshot{JobID: id, Status: Processing, Stage: locale.Received}}
}

// The progress of each stage, and how far it may move within one.
const (
	progressReceived   = 10
	progressUploading  = 40
	progressUploaded   = 69
	progressStored     = 70
	progressDispatched = 90
	progressAnalysed   = 99
	progressCompleted  = 100
)

// Merge takes entries in and reports whether anything, shown or not, is another
// than before. However they are ordered, grouped and repeated over any number of
// calls, the record ends the same, except for Version and UpdatedAt, which tell
// of the record's own history.
//
// The status, with error and result, is from the state event of the highest
// sequence; progress is the greatest of the newest attempt that the analysis
// server took or that a retry asked for; a wait for the server shows until it has
// the attempt or anything newer is known; facts fill in. Progress told after an
// ending is left out, but one that arrived before that ending did stays: what a
// viewer has seen never goes back. That is the one thing in which the order can
// be noticed. Merge relies on the log for two more: that nothing but an erasure
// follows a completed or a canceled, and that what follows a failed is of a newer
// attempt.
//
// An erased job is a tombstone, whatever else is known of it or comes.
func (r *Record) Merge(entries []Entry) (changed bool) {
	before := *r
	newest := r.UpdatedAt
	for _, e := range slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) }) {
		earlier := *r
		r.apply(e)
		if *r != earlier && e.Time.After(newest) {
			newest = moment(e.Time)
		}
	}
	r.Stage, r.NextAttemptAt = r.stage(), time.Time{}
	if r.Stage == locale.Waiting {
		r.NextAttemptAt = r.WaitUntil
	}
	if r.Reason = ""; r.Stage == locale.Refused {
		r.Reason = r.RefusedCode
	}
	if r.CreatedAt.IsZero() {
		r.UpdatedAt = newest
	} else if r.shown() != before.shown() || before.CreatedAt.IsZero() {
		r.Version++
		r.UpdatedAt = newest
	}
	return *r != before
}

// moment is t as the database keeps it.
func moment(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// shown is what a viewer can tell one version from another by.
func (r *Record) shown() Snapshot {
	s := r.Snapshot
	s.Version, s.UpdatedAt = 0, time.Time{}
	return s
}

// apply takes one event in. Events that it does not know change nothing.
func (r *Record) apply(e Entry) {
	if r.Status == Erased {
		r.bury(e)
		return
	}
	switch ev := e.Event.(type) {
	case event.Received:
		r.receive(ev, e.Time)
		r.step(e.Seq, Processing, Failure{})
		r.enter(e, false)
		r.climb(0, progressReceived)
	case event.Stored:
		r.Bucket, r.Key = ev.Bucket, ev.Key
		r.Duration = cmp.Or(ev.Duration, r.Duration) // a result may have told it before
		r.MediaType, r.Size, r.SHA256 = ev.MediaType, ev.Size, ev.SHA256
		r.step(e.Seq, Processing, Failure{})
		r.climb(0, progressStored)
	case event.Attempted:
		r.Attempt = max(r.Attempt, ev.Attempt)
		r.step(e.Seq, Processing, Failure{})
	case event.Dispatched:
		r.step(e.Seq, Processing, Failure{})
		r.enter(e, true)
		r.dispatch(ev)
	case event.Lapsed:
		r.step(e.Seq, Processing, Failure{})
		r.enter(e, false)
	case event.Completed:
		r.complete(e, ev)
	case event.Failed:
		r.Attempt = max(r.Attempt, ev.Attempt)
		r.step(e.Seq, Failed, Failure{Code: ev.Code, Detail: ev.Detail, Retryable: ev.Retryable})
	case event.Canceled:
		r.step(e.Seq, Canceled, Failure{})
	case event.Retried:
		r.Attempt = max(r.Attempt, ev.Attempt)
		r.step(e.Seq, Processing, Failure{})
		r.enter(e, false)
		r.climb(ev.Attempt, progressStored)
	case event.Erased:
		r.erase(e)
	case event.Uploading:
		if !r.late(e, 0) {
			r.climb(0, within(progressUploading, progressUploaded, ev.Bytes, ev.Size))
		}
	case event.Progressed:
		if !r.late(e, ev.Attempt) {
			r.progress(e.Seq, ev)
		}
	case event.Waiting:
		r.wait(e.Seq, ev)
	case event.Refused:
		r.refuse(e.Seq, ev)
	}
}

// receive takes the facts of the upload. What the uploader found in the bucket
// counts more than what was announced.
func (r *Record) receive(ev event.Received, at time.Time) {
	r.TokenID, r.FileName, r.CreatedAt = ev.TokenID, ev.FileName, moment(at)
	if r.Key == "" {
		r.MediaType, r.Size, r.SHA256 = ev.MediaType, ev.Size, ev.SHA256
	}
}

func (r *Record) dispatch(ev event.Dispatched) {
	r.Attempt = max(r.Attempt, ev.Attempt)
	r.climb(ev.Attempt, progressDispatched)
	if ev.Attempt >= r.Climbed {
		r.AnalysisJobID = ev.AnalysisJobID
	}
}

// enter lets a deadline count from the newest event that begins a stage.
func (r *Record) enter(e Entry, analysing bool) {
	if e.Seq > r.StageSeq {
		r.StageSeq, r.StageAt, r.Analysing = e.Seq, moment(e.Time), analysing
	}
}

// step lets a state event decide the status where none that is newer has. It
// reports whether it did. What stood in for an event that could not be recorded
// gives way to the event itself, when that is replayed.
func (r *Record) step(seq uint64, status Status, failure Failure) bool {
	mended := seq == r.StateSeq && r.Error.Code == event.CodeUnprojectable && failure.Code != event.CodeUnprojectable
	if seq <= r.StateSeq && !mended {
		return false
	}
	r.StateSeq, r.Status, r.Error = seq, status, failure
	if status.Ended() && !r.reopened(r.Climbed) { // what the analysis server said is over
		r.Message, r.MessageSeq = "", 0
	}
	return true
}

func (r *Record) complete(e Entry, ev event.Completed) {
	r.Attempt = max(r.Attempt, ev.Attempt)
	if !r.step(e.Seq, Completed, Failure{}) {
		return
	}
	if ev.Attempt > r.Climbed {
		r.AnalysisJobID = ""
	}
	r.Result, r.Progress, r.Climbed = e.Result, progressCompleted, ev.Attempt
	if r.Duration == 0 {
		r.Duration = e.Result.duration()
	}
}

// erase makes the record a tombstone: that the job was, of which token and since
// when, and how far viewers have seen it come. It counts whatever its sequence: the
// log may have been begun anew since, where it was lost or has expired.
func (r *Record) erase(e Entry) {
	tomb := New(r.JobID)
	tomb.TokenID, tomb.CreatedAt, tomb.UpdatedAt, tomb.Version = r.TokenID, r.CreatedAt, r.UpdatedAt, r.Version
	tomb.Status, tomb.StateSeq, tomb.Progress = Erased, max(r.StateSeq, e.Seq), max(r.Progress, progressReceived)
	if tomb.CreatedAt.IsZero() { // it is shown as gone all the same
		tomb.CreatedAt = moment(e.Time)
	}
	*r = tomb
}

// bury takes of an event what a tombstone tells.
func (r *Record) bury(e Entry) {
	if ev, ok := e.Event.(event.Received); ok {
		r.TokenID, r.CreatedAt = ev.TokenID, moment(e.Time)
	}
}

// reopened reports whether an attempt can only be of a failed job that was opened
// again, by events that are still to come.
func (r *Record) reopened(attempt int) bool { return r.Status == Failed && attempt > r.Attempt }

// late reports whether an attempt's progress was told after the job had ended.
func (r *Record) late(e Entry, attempt int) bool {
	return r.Status.Ended() && e.Seq > r.StateSeq && !r.reopened(attempt)
}

// climb raises the progress: the newer attempt counts, and within one the
// greater value.
func (r *Record) climb(attempt, progress int) {
	if r.Status == Completed {
		return
	}
	if attempt > r.Climbed {
		r.Climbed, r.Progress, r.Message, r.MessageSeq, r.AnalysisJobID = attempt, progress, "", 0, ""
	} else if attempt == r.Climbed {
		r.Progress = max(r.Progress, progress)
	}
}

func (r *Record) progress(seq uint64, ev event.Progressed) {
	r.climb(ev.Attempt, within(progressDispatched, progressAnalysed, int64(ev.Percent), 100))
	if ev.Attempt == r.Climbed && seq > r.MessageSeq && (!r.Status.Ended() || r.reopened(ev.Attempt)) {
		r.Message, r.MessageSeq = ev.Message, seq
	}
}

// wait takes a wait in, where none of a newer attempt is known, and none that is
// newer of its own. One without an end is none.
func (r *Record) wait(seq uint64, ev event.Waiting) {
	if ev.Until.IsZero() {
		return
	}
	if ev.Attempt > r.WaitAttempt || ev.Attempt == r.WaitAttempt && seq > r.WaitSeq {
		r.WaitSeq, r.WaitAttempt, r.WaitUntil = seq, ev.Attempt, moment(ev.Until)
	}
}

// refuse takes a refused callback in, as wait does a wait.
func (r *Record) refuse(seq uint64, ev event.Refused) {
	if ev.Attempt > r.RefusedAttempt || ev.Attempt == r.RefusedAttempt && seq > r.RefusedSeq {
		r.RefusedSeq, r.RefusedAttempt, r.RefusedCode = seq, ev.Attempt, ev.Code
	}
}

// refused reports whether the last that was heard of the newest attempt is a callback
// that was refused.
func (r *Record) refused() bool {
	return r.RefusedSeq > r.StateSeq && r.RefusedSeq > r.MessageSeq && r.RefusedAttempt >= r.Attempt
}

// waiting reports whether the job waits for the analysis server. A wait may be
// told when it is over: the server may have the attempt already, from another copy
// or from a request whose answer was lost.
func (r *Record) waiting() bool {
	taken := r.Progress >= progressDispatched && r.Climbed >= r.WaitAttempt
	return r.WaitSeq > r.StateSeq && r.WaitAttempt >= r.Attempt && !taken
}

// within places part of whole between two values, whatever the sender made of
// them.
func within(from, to int, part, whole int64) int {
	if part <= 0 || whole <= 0 {
		return from
	}
	return from + int(float64(to-from)*min(1, float64(part)/float64(whole)))
}

// stage follows from status and progress.
func (r *Record) stage() locale.Message {
	switch {
	case r.Status == Completed:
		return locale.Completed
	case r.Status == Failed:
		return locale.Failed
	case r.Status == Canceled:
		return locale.Canceled
	case r.Status == Erased:
		return locale.Erased
	case r.refused():
		return locale.Refused
	case r.waiting():
		return locale.Waiting
	case r.Progress >= progressDispatched:
		return locale.Dispatched
	case r.Progress >= progressStored:
		return locale.Stored
	case r.Progress >= progressUploading:
		return locale.Uploading
	default:
		return locale.Received
	}
}

// Arrived is the snapshot of a job that is accepted and not yet recorded.
func Arrived(received event.Received, at time.Time) Snapshot {
	r := New(received.JobID)
	r.Merge([]Entry{{Event: received, Seq: 1, Time: at}})
	r.Version = 0
	return r.Snapshot
}
