package job

import (
	"cmp"
	"slices"
	"time"

	"sori.internal/shared/event"
)

// Entry is an event with its sequence and its time in the stream.
type Entry struct {
	Event  event.Event
	Seq    uint64
	Time   time.Time
	Size   int64  // size of the event in the stream in bytes; 0 if unknown
	Result Result // only for Completed: the result in the event or in staging
}

// Entries returns the events of a job's log as entries.
func Entries(log event.Log) []Entry {
	entries := make([]Entry, len(log))
	for i, r := range log {
		entries[i] = Entry{Event: r.Event, Seq: r.Seq, Time: r.Time}
	}
	return entries
}

// Record has all facts about a job. Besides the snapshot, it has facts that clients do not see, or
// that Merge needs because events may arrive out of order. As long as the event `received` is not
// merged, CreatedAt is zero, the version is 0, and clients do not see the record.
type Record struct {
	Snapshot

	StateSeq        uint64 // sequence of the state event that set the status
	Attempt         int    // highest attempt number in the state events
	ProgressAttempt int    // attempt to which the progress belongs; 0 before the analysis
	MessageSeq      uint64 // sequence of the event progressed that set the message

	StageSeq  uint64    // sequence of the event from which the deadline counts
	StageAt   time.Time // time of the event StageSeq
	Analysing bool      // the event StageSeq is dispatched, so the deadline is that of the analysis

	WaitSeq     uint64    // sequence of the newest waiting event
	WaitAttempt int       // attempt of the event WaitSeq
	WaitUntil   time.Time // when the dispatcher sends the attempt again; zero if unknown
	WaitCode    string    // the reason

	RefusalSeq     uint64 // sequence of the newest refused event
	RefusalAttempt int    // attempt of the event RefusalSeq
	RefusalCode    string // why the callback was refused

	FetchSeq     uint64 // sequence of the newest fetching event
	FetchAttempt int    // attempt that the retry requested; 0 for the first fetch
	FetchState   Fetch  // content of the event FetchSeq

	MediaType     string
	Bucket        string
	Key           string
	Size          int64
	SHA256        string
	Duration      float64 // seconds; 0 if unknown
	AnalysisJobID string  // the analysis server's id of the analysis

	LogBytes int64  // size of the job's events in the stream, in bytes
	LogSeqs  string // sequences of the newest events that are counted in LogBytes
}

// New makes the record of a job without any event.
func New(id string) Record {
	return Record{Snapshot: Snapshot{JobID: id, Status: Processing, Stage: StageReceived}}
}

// FromReceived returns the snapshot of a job that is accepted, but not recorded. Its version is 0.
func FromReceived(received event.Received, at time.Time) Snapshot {
	r := New(received.JobID)
	r.Merge([]Entry{{Event: received, Seq: 1, Time: at}})
	r.Version = 0
	return r.Snapshot
}

// Merge merges entries into the record and reports whether any field changed.
//
// Invariants:
//
//  1. The merged record is the same, in whatever order and batches the entries arrive, and however
//     often. The exceptions are below.
//  2. Status, error, result, warnings and the time of the end come from the state event with the
//     highest sequence.
//  3. The progress belongs to one attempt: the newest attempt that the analysis server accepted or
//     that a retry requested. Within an attempt it never decreases.
//  4. A wait, or a refused callback, is shown until the analysis server accepts the attempt or a
//     newer event is merged.
//  5. Facts about the recording in the event `stored` replace those in the event `received`.
//  6. The version grows by one with each call that changes what clients see, and with no other
//     call. It is 0 until the event `received` or `erased` is merged.
//  7. The record of an erased job is a tombstone, whatever is merged before and after the event
//     `erased`.
//  8. The deletion of the recording of an ended job does not change UpdatedAt, which clients take
//     for the time of the end.
//  9. The owner is that in the event `received`, or that in the event `erased` if `received` has
//     none.
//  10. The size of an event is counted once, however often the event is merged.
//
// Exceptions from 1:
//
//   - Version and UpdatedAt depend on the order.
//   - Progress that was published after the terminal event is ignored if the terminal event was
//     merged first. If the progress was merged first, it stays, since the progress that clients see
//     never decreases.
//   - A tombstone keeps the progress that the record had when the event `erased` was merged.
//
// Merge relies on two rules of the log: only `expired` and `erased` follow `completed` or
// `canceled`, and any other state event that follows `failed` belongs to a newer attempt.
func (r *Record) Merge(entries []Entry) (changed bool) {
	before := *r
	newest := r.UpdatedAt
	for _, e := range slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) }) {
		earlier := *r
		r.apply(e)
		if *r != earlier && e.Time.After(newest) && e.Event.Name() != event.NameExpired {
			newest = databaseTime(e.Time)
		}
		r.countSize(e)
	}
	r.Stage = r.stage()
	r.SetStageDetails()
	if r.CreatedAt.IsZero() {
		r.UpdatedAt = newest
	} else if r.visible() != before.visible() || before.CreatedAt.IsZero() {
		r.Version++
		r.UpdatedAt = newest
	}
	return *r != before
}

// databaseTime returns t in UTC, truncated to microseconds, as the database stores it.
func databaseTime(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// visible returns the part of the snapshot that clients see: if it changes, the version grows.
func (r *Record) visible() Snapshot {
	s := r.Snapshot
	s.Version, s.UpdatedAt = 0, time.Time{}
	return s
}

// apply merges one event. An event of an unknown type changes nothing.
func (r *Record) apply(e Entry) {
	if r.Status == Erased {
		r.applyToTombstone(e)
		return
	}
	if e.Event != nil && e.Event.Name().Progress() {
		r.applyProgress(e)
		return
	}
	switch ev := e.Event.(type) {
	case event.Received:
		r.applyReceived(e, ev)
	case event.Stored:
		r.applyStored(e, ev)
	case event.Attempted:
		r.Attempt = max(r.Attempt, ev.Attempt)
		r.setStatus(e, Processing, Failure{})
	case event.Dispatched:
		r.applyDispatched(e, ev)
	case event.Lapsed:
		r.setStatus(e, Processing, Failure{})
		r.startDeadline(e, false)
	case event.Completed:
		r.applyCompleted(e, ev)
	case event.Failed:
		r.Attempt = max(r.Attempt, ev.Attempt)
		r.setStatus(e, Failed, Failure{Code: ev.Code, Detail: ev.Detail, Retryable: ev.Retryable})
	case event.Canceled:
		r.setStatus(e, Canceled, Failure{})
	case event.Retried:
		r.Attempt = max(r.Attempt, ev.Attempt)
		r.setStatus(e, Processing, Failure{})
		r.startDeadline(e, false)
		if ev.Fetch {
			r.raiseProgress(ev.Attempt, progressReceived)
		} else {
			r.raiseProgress(ev.Attempt, progressStored)
		}
	case event.Expired: // the status stays
		r.AudioDeletedAt = databaseTime(e.Time)
	case event.Erased:
		r.applyErased(e, ev)
	}
}

// applyProgress merges a progress event, which never changes the status.
func (r *Record) applyProgress(e Entry) {
	switch ev := e.Event.(type) {
	case event.Fetching:
		r.applyFetching(e, ev)
	case event.Uploading:
		if !r.afterTerminal(e, 0) {
			r.raiseProgress(0, uploadProgress(ev))
		}
	case event.Progressed:
		if !r.afterTerminal(e, ev.Attempt) {
			r.applyProgressed(e.Seq, ev)
		}
	case event.Waiting:
		r.applyWaiting(e.Seq, ev)
	case event.Refused:
		r.applyRefused(e.Seq, ev)
	}
}

// applyReceived merges the event `received`. Properties of the recording that the event `stored`
// has already set stay.
func (r *Record) applyReceived(e Entry, ev event.Received) {
	r.TokenID, r.FileName, r.CreatedAt = ev.TokenID, ev.FileName, databaseTime(e.Time)
	r.setOwner(ev.Owner)
	if r.Key == "" {
		r.MediaType, r.Size, r.SHA256 = ev.MediaType, ev.Size, ev.SHA256
	}
	r.setStatus(e, Processing, Failure{})
	r.startDeadline(e, false)
	r.raiseProgress(0, progressReceived)
}

func (r *Record) applyStored(e Entry, ev event.Stored) {
	r.Bucket, r.Key = ev.Bucket, ev.Key
	r.Duration = durationOf(ev.Duration, r.Duration) // r.Duration is not 0 if the event completed was merged before the event stored
	r.MediaType, r.Size, r.SHA256 = ev.MediaType, ev.Size, ev.SHA256
	r.setStatus(e, Processing, Failure{})
	r.raiseProgress(ev.Attempt, progressStored)
}

func (r *Record) applyDispatched(e Entry, ev event.Dispatched) {
	r.setStatus(e, Processing, Failure{})
	r.startDeadline(e, true)
	r.Attempt = max(r.Attempt, ev.Attempt)
	r.raiseProgress(ev.Attempt, progressDispatched)
	if ev.Attempt >= r.ProgressAttempt {
		r.AnalysisJobID = ev.AnalysisJobID
	}
}

func (r *Record) applyCompleted(e Entry, ev event.Completed) {
	r.Attempt = max(r.Attempt, ev.Attempt)
	if !r.setStatus(e, Completed, Failure{}) {
		return
	}
	if ev.Attempt > r.ProgressAttempt {
		r.AnalysisJobID = ""
	}
	r.Result, r.Warnings, r.Cached = e.Result, NewWarnings(ev.Warnings), ev.Cached
	r.Progress, r.ProgressAttempt = progressCompleted, ev.Attempt
	r.Duration = durationOf(r.Duration, e.Result.duration())
}

// applyErased makes the record a tombstone. A tombstone has only the job's id, owner and token, its
// time of creation, and the progress that clients have seen. applyErased does not compare the
// sequence of the event with StateSeq: if the log was lost or has expired, the sequences may have
// begun at 1 again.
func (r *Record) applyErased(e Entry, ev event.Erased) {
	tombstone := New(r.JobID)
	tombstone.TokenID, tombstone.CreatedAt = r.TokenID, r.CreatedAt
	tombstone.Owner = cmp.Or(r.Owner, ev.Owner)
	tombstone.UpdatedAt, tombstone.Version = r.UpdatedAt, r.Version
	tombstone.Status, tombstone.StateSeq = Erased, max(r.StateSeq, e.Seq)
	tombstone.Progress = max(r.Progress, progressReceived)
	if tombstone.CreatedAt.IsZero() { // without a time clients would get 404 instead of 410
		tombstone.CreatedAt = databaseTime(e.Time)
	}
	*r = tombstone
}

// applyToTombstone merges an event into a tombstone, of which only the owner, the token and the
// time of creation may still change.
func (r *Record) applyToTombstone(e Entry) {
	switch ev := e.Event.(type) {
	case event.Received:
		r.TokenID, r.CreatedAt = ev.TokenID, databaseTime(e.Time)
		r.setOwner(ev.Owner)
	case event.Erased:
		r.Owner = cmp.Or(r.Owner, ev.Owner)
	}
}

// setOwner sets the owner in the event `received`. If it has no owner, the owner in the event
// `erased` stays.
func (r *Record) setOwner(owner string) { r.Owner = cmp.Or(owner, r.Owner) }

// startDeadline makes the deadline count from an event, unless it counts from a newer one.
func (r *Record) startDeadline(e Entry, analysing bool) {
	if e.Seq > r.StageSeq {
		r.StageSeq, r.StageAt, r.Analysing = e.Seq, databaseTime(e.Time), analysing
	}
}

// setStatus sets the status, unless the record already has the status of a newer event. It reports
// whether it has set the status. If an event could not be recorded, a placeholder was recorded at
// its sequence (CodeUnprojectable): then a replay of the event replaces the placeholder.
func (r *Record) setStatus(e Entry, status Status, failure Failure) bool {
	replaces := e.Seq == r.StateSeq && r.Error.Code == event.CodeUnprojectable && failure.Code != event.CodeUnprojectable
	if e.Seq <= r.StateSeq && !replaces {
		return false
	}
	r.StateSeq, r.Status, r.Error, r.EndedAt = e.Seq, status, failure, time.Time{}
	if status.Ended() {
		r.EndedAt = databaseTime(e.Time)
		if !r.reopenedFor(r.ProgressAttempt) { // the message belongs to the ended attempt
			r.Message, r.MessageSeq = "", 0
		}
	}
	return true
}

// reopenedFor reports whether the job has failed before the given attempt. Then the job must have
// been retried, although retried may not be merged yet.
func (r *Record) reopenedFor(attempt int) bool { return r.Status == Failed && attempt > r.Attempt }

// afterTerminal reports whether a progress event of an attempt was published after the job ended.
func (r *Record) afterTerminal(e Entry, attempt int) bool {
	return r.Status.Ended() && e.Seq > r.StateSeq && !r.reopenedFor(attempt)
}

func (r *Record) applyProgressed(seq uint64, ev event.Progressed) {
	r.raiseProgress(ev.Attempt, analysisProgress(ev))
	if ev.Attempt == r.ProgressAttempt && seq > r.MessageSeq && (!r.Status.Ended() || r.reopenedFor(ev.Attempt)) {
		r.Message, r.MessageSeq = ev.Message, seq
	}
}

// applyFetching stores the newest fetching event of the newest retry.
func (r *Record) applyFetching(e Entry, ev event.Fetching) {
	if !r.afterTerminal(e, ev.Attempt) {
		r.raiseProgress(ev.Attempt, fetchProgress(ev))
	}
	if ev.Attempt > r.FetchAttempt || ev.Attempt == r.FetchAttempt && e.Seq > r.FetchSeq {
		r.FetchSeq, r.FetchAttempt = e.Seq, ev.Attempt
		r.FetchState = Fetch{Bytes: ev.Bytes, Size: ev.Size, Try: ev.Try, Code: ev.Code, Status: ev.Status}
	}
}

// applyWaiting stores the newest waiting event of the newest attempt. It ignores a waiting event
// that has neither Until nor Since.
func (r *Record) applyWaiting(seq uint64, ev event.Waiting) {
	if ev.Until.IsZero() && ev.Since.IsZero() {
		return
	}
	if ev.Attempt > r.WaitAttempt || ev.Attempt == r.WaitAttempt && seq > r.WaitSeq {
		r.WaitSeq, r.WaitAttempt, r.WaitUntil, r.WaitCode = seq, ev.Attempt, databaseTime(ev.Until), ev.Code
	}
}

// applyRefused stores the newest refused event of the newest attempt.
func (r *Record) applyRefused(seq uint64, ev event.Refused) {
	if ev.Attempt > r.RefusalAttempt || ev.Attempt == r.RefusalAttempt && seq > r.RefusalSeq {
		r.RefusalSeq, r.RefusalAttempt, r.RefusalCode = seq, ev.Attempt, ev.Code
	}
}
