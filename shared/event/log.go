package event

import (
	"errors"
	"time"
)

// ErrLogConflict says that a job's log has grown since it was read: another writer
// won the step.
var ErrLogConflict = errors.New("the job's log has moved on")

// Record is an event as a job's log holds it.
type Record struct {
	Event Event
	Seq   uint64    // its place in the stream
	Time  time.Time // when the stream took it
}

// Unreadable stands in a job's log for an event whose body could not be read. It
// is never published.
type Unreadable struct {
	JobID string
	Of    Name
}

// Name implements Event: the subject tells it, and with it whether the job ended.
func (e Unreadable) Name() Name { return e.Of }

// Job implements Event.
func (e Unreadable) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Unreadable) Occurrence() string { return "" }

// Log is what is known of one job: the newest event on each of its subjects,
// oldest first. One writer wins each step (package bus), so it is linear. That of
// an erased job holds little else but its end.
type Log []Record

// Seq is the sequence that the next event of the job must expect; 0 for a job
// that does not exist.
func (l Log) Seq() uint64 {
	if len(l) == 0 {
		return 0
	}
	return l[len(l)-1].Seq
}

// Terminal returns the event that ended the job, if one has.
func (l Log) Terminal() (Event, bool) {
	if len(l) == 0 || !l[len(l)-1].Event.Name().Terminal() {
		return nil, false
	}
	return l[len(l)-1].Event, true
}

// Erased reports whether nothing of the job is to be kept.
func (l Log) Erased() bool {
	return len(l) > 0 && l[len(l)-1].Event.Name() == NameErased
}

// Attempt is the number of the newest attempt at an analysis, be it begun, failed
// or, by a retry, only asked for; 0 before the first.
func (l Log) Attempt() int {
	attempted, _ := Last[Attempted](l)
	failed, _ := Last[Failed](l)
	retried, _ := Last[Retried](l)
	return max(attempted.Attempt, failed.Attempt, retried.Attempt)
}

// Last returns the newest event of one type.
func Last[E Event](l Log) (E, bool) {
	for i := len(l) - 1; i >= 0; i-- {
		if e, ok := l[i].Event.(E); ok {
			return e, true
		}
	}
	var none E
	return none, false
}
