package invariants

import (
	"errors"
	"fmt"

	"sori.internal/shared/event"
)

// History is all that happened to one job, oldest first: every event of its log,
// and not only the newest of each subject.
type History []event.Event

// Ending is the ending that counts, which is the last event; false where that is
// none. An earlier one was a failure that a retry opened again.
func (h History) Ending() (event.Name, bool) {
	if len(h) == 0 {
		return "", false
	}
	last := h[len(h)-1].Name()
	return last, last.Terminal()
}

// Erased tells whether nothing of the job is to be kept, its history included.
func (h History) Erased() bool {
	last, _ := h.Ending()
	return last == event.NameErased
}

// Stored tells whether the job's recording came into the bucket.
func (h History) Stored() bool {
	for _, e := range h {
		if e.Name() == event.NameStored {
			return true
		}
	}
	return false
}

// Check holds what is true of a job at any time, whatever raced or was killed, and
// returns all that is not: that it begins with received, that nothing follows what
// ended it but a retry of a failure, that nothing is said twice, and that attempts
// only grow. A job may be erased at any time, and then that may be all of it.
func (h History) Check() error {
	var wrong []error
	said, newest := map[string]bool{}, 0
	for i, e := range h {
		if i == 0 && e.Name() != event.NameReceived && !h.Erased() {
			wrong = append(wrong, fmt.Errorf("the first event is %s", e.Name()))
		}
		if i > 0 && !mayFollow(h[i-1].Name(), e.Name()) {
			wrong = append(wrong, fmt.Errorf("%s follows %s", e.Name(), h[i-1].Name()))
		}
		if id := event.ID(e); said[id] {
			wrong = append(wrong, fmt.Errorf("%s is said twice", id))
		} else {
			said[id] = true
		}
		n, begins, ok := attempt(e)
		if ok && (n < newest || n > newest && !begins) {
			wrong = append(wrong, fmt.Errorf("%s is of attempt %d, the newest is %d", e.Name(), n, newest))
		}
		newest = max(newest, n)
	}
	return errors.Join(wrong...)
}

// mayFollow tells whether one event may come directly after another. Retries and
// failures go together: nothing else opens a job, and nothing else is opened.
func mayFollow(before, e event.Name) bool {
	if e == event.NameErased {
		return before != event.NameErased
	}
	switch before {
	case event.NameCompleted, event.NameCanceled, event.NameErased:
		return false
	case event.NameFailed:
		return e == event.NameRetried
	default:
		return e != event.NameRetried && e != event.NameReceived
	}
}

// attempt is the attempt that an event is of, and whether the event is one of
// those that a new attempt begins with; false for one that is of none.
func attempt(e event.Event) (n int, begins, ok bool) {
	switch e := e.(type) {
	case event.Retried:
		return e.Attempt, true, true
	case event.Attempted:
		return e.Attempt, true, true
	case event.Dispatched:
		return e.Attempt, false, true
	case event.Lapsed:
		return e.Attempt, false, true
	case event.Completed:
		return e.Attempt, false, true
	case event.Failed:
		return e.Attempt, false, true
	default:
		return 0, false, false
	}
}

// Processing is the status of a row whose job has not ended.
const Processing = "processing"

// Status is the status of a row after an event; empty if it is unknown.
func Status(name event.Name) string {
	switch name {
	case event.NameCompleted, event.NameFailed, event.NameCanceled, event.NameErased:
		return string(name)
	case event.NameReceived, event.NameStored, event.NameAttempted, event.NameDispatched, event.NameLapsed, event.NameRetried:
		return Processing
	default:
		return ""
	}
}
