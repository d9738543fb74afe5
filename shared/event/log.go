package event

import (
	"errors"
	"time"
)

// ErrLogConflict means that a job's log does not end as the writer expected: another writer
// appended first.
var ErrLogConflict = errors.New("the job's log has moved on")

// Record is an event in a job's log.
type Record struct {
	Event Event
	Seq   uint64    // sequence in the stream
	Time  time.Time // when the stream stored the event
}

// Unreadable stands in a Log for an event whose body cannot be decoded. It is never published.
type Unreadable struct {
	JobID string
	Of    Name
}

// Name implements Event. The name comes from the subject, so that it is known whether the job has
// ended.
func (e Unreadable) Name() Name { return e.Of }

// Job implements Event.
func (e Unreadable) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Unreadable) Occurrence() string { return "" }

// Log is the log of one job: the newest event on each of its subjects, oldest first. It is linear,
// since only one writer can append the next event (package joblog). The log of an erased job ends
// with the event `erased`.
type Log []Record

// Seq returns the sequence of the last event, which the writer of the next event must expect; 0 for
// an empty log.
func (l Log) Seq() uint64 {
	if len(l) == 0 {
		return 0
	}
	return l[len(l)-1].Seq
}

// Terminal returns the event that ended the job, or false if the job has not ended.
func (l Log) Terminal() (Event, bool) {
	end, ended := l.End()
	return end.Event, ended
}

// End returns the record of the event that ended the job, or false if the job has not ended. If the
// event `expired` is the only one that is left in the log, End returns the record of this event.
func (l Log) End() (Record, bool) {
	if len(l) == 0 || !l[len(l)-1].Event.Name().Terminal() {
		return Record{}, false
	}
	if last := len(l) - 1; last > 0 && l[last].Event.Name() == NameExpired {
		return l[last-1], true
	}
	return l[len(l)-1], true
}

// AudioExpired reports whether the log ends with the event `expired`: the job's recording must be
// removed, but the job is not erased.
func (l Log) AudioExpired() bool {
	return len(l) > 0 && l[len(l)-1].Event.Name() == NameExpired
}

// Erased reports whether the job is erased.
func (l Log) Erased() bool {
	return len(l) > 0 && l[len(l)-1].Event.Name() == NameErased
}

// Attempt returns the number of the newest attempt: one that has begun or failed, or one that a
// retry has requested. It returns 0 before the first attempt.
func (l Log) Attempt() int {
	attempted, _ := Last[Attempted](l)
	failed, _ := Last[Failed](l)
	retried, _ := Last[Retried](l)
	return max(attempted.Attempt, failed.Attempt, retried.Attempt)
}

// Last returns the newest event of one type, or false if there is none.
func Last[E Event](l Log) (E, bool) {
	for i := len(l) - 1; i >= 0; i-- {
		if e, ok := l[i].Event.(E); ok {
			return e, true
		}
	}
	var none E
	return none, false
}
