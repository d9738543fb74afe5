package invariants

import (
	"errors"
	"fmt"

	"sori.internal/shared/event"
)

// History contains every event of one job's log, oldest first, and not only the newest
// event of each subject.
type History []event.Event

// Ending returns the name of the last event, and whether that is terminal. An earlier terminal event does not
// count: it was a failure, after which the job was retried. The event `expired`, which follows the end, is
// skipped.
func (h History) Ending() (event.Name, bool) {
	if h.Expired() {
		h = h[:len(h)-1]
	}
	if len(h) == 0 {
		return "", false
	}
	last := h[len(h)-1].Name()
	return last, last.Terminal()
}

// Expired reports whether the recording of the job is deleted and the job is not erased.
func (h History) Expired() bool {
	return len(h) > 0 && h[len(h)-1].Name() == event.NameExpired
}

// Erased reports whether the job is erased, so that no data of it may be kept.
func (h History) Erased() bool {
	last, _ := h.Ending()
	return last == event.NameErased
}

// Stored reports whether the job's recording was stored in the bucket.
func (h History) Stored() bool {
	for _, e := range h {
		if e.Name() == event.NameStored {
			return true
		}
	}
	return false
}

// Check returns an error with all violations of these invariants, which hold at any time:
//
//  1. The history begins with the event `received`. The history of an erased job may begin with any event, and
//     may contain only the event `erased`.
//  2. A terminal event is the last one, except that a failed job may be retried, and any
//     job may be erased. Before that, the recording of an ended job may expire.
//  3. No event occurs twice.
//  4. The number of the attempt never decreases, and only an event that begins an attempt
//     increases it.
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

// mayFollow reports whether the event e may directly follow the event in the parameter
// before. After a failure only a retry, an expiry or an erasure may follow, and a retry
// may only follow a failure.
func mayFollow(before, e event.Name) bool {
	if e == event.NameErased {
		return before != event.NameErased
	}
	switch before {
	case event.NameCompleted, event.NameCanceled:
		return e == event.NameExpired
	case event.NameExpired, event.NameErased:
		return false
	case event.NameFailed:
		return e == event.NameRetried || e == event.NameExpired
	default:
		return e != event.NameRetried && e != event.NameReceived && e != event.NameExpired
	}
}

// attempt returns the number of the attempt to which an event belongs, and whether the
// event begins an attempt. The result ok is false if the event belongs to no attempt.
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

// Status returns the status of a row after an event with the name, or "" if the name is unknown.
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
