package analysis

import (
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// This file holds the rules. Each is a pure function from a job's log to a decision: what to send,
// which event to append, how to answer. The other files do the I/O around them.

// attempt is a request to the analysis server that is to be sent.
type attempt struct {
	number  int
	retry   int           // the number that the newest retry of the job asked for; 0 without a retry
	backoff time.Duration // shortest delay before it is sent again if the server is unavailable; 0: never
}

// newest holds, for each type of event, the attempt number in its newest event of a log; 0 if the
// log has none.
type newest struct {
	attempted, dispatched, lapsed, retried int
}

func newestOf(log event.Log) newest {
	attempted, _ := event.Last[event.Attempted](log)
	dispatched, _ := event.Last[event.Dispatched](log)
	lapsed, _ := event.Last[event.Lapsed](log)
	retried, _ := event.Last[event.Retried](log)
	return newest{attempted.Attempt, dispatched.Attempt, lapsed.Attempt, retried.Attempt}
}

// active reports whether a job exists and has no terminal event. An active job occupies its slot,
// whatever becomes of its attempts.
func active(log event.Log) bool {
	_, ended := log.Terminal()
	return len(log) > 0 && !ended
}

// recordingOf returns the event that says where the job's audio is stored.
func recordingOf(log event.Log) (event.Stored, error) {
	s, ok := event.Last[event.Stored](log)
	if !ok {
		return s, fault.New(fault.Invalid, "recording-unknown", "It is not known where the audio is stored.")
	}
	return s, nil
}

// beginAttempt decides whether an attempt is sent to the analysis server, and returns the event to
// append first: attempted, or nil if the log has it, because a crash or an unavailable server
// interrupted the attempt. The attempt is not sent if
//
//  1. the job has ended or its log has expired,
//  2. the job was retried after the attempt was decided on,
//  3. a newer attempt has begun, or
//  4. the server has accepted this attempt.
func beginAttempt(log event.Log, job string, a attempt) (send bool, e event.Event) {
	n := newestOf(log)
	if !active(log) || n.retried != a.retry || log.Attempt() > a.number || n.dispatched >= a.number {
		return false, nil
	}
	if n.attempted < a.number {
		e = event.Attempted{JobID: job, Attempt: a.number}
	}
	return true, e
}

// acceptAttempt returns the event to append after the server accepted an attempt, or nil if the job
// has ended, a newer attempt has begun, or the log has the event already. A callback may arrive before
// the server's answer to the request.
func acceptAttempt(log event.Log, dispatched event.Dispatched) event.Event {
	if !active(log) || log.Attempt() != dispatched.Attempt || newestOf(log).dispatched == dispatched.Attempt {
		return nil
	}
	return dispatched
}

// failAttempt returns the event to append after an attempt failed for good, or nil if the job has
// ended or a newer attempt has begun.
func failAttempt(log event.Log, failed event.Failed) event.Event {
	if !active(log) || log.Attempt() != failed.Attempt {
		return nil
	}
	return failed
}

// failJob returns the event to append after an event of a job became a dead letter, or nil if the
// job has ended. The failure is retryable if its cause may be fixed, as a defect of Sori may be; bad
// input stays bad.
func failJob(log event.Log, job string, f *fault.Error) event.Event {
	if !active(log) {
		return nil
	}
	return event.Failed{JobID: job, Attempt: log.Attempt(), Code: f.Code, Detail: f.Detail, Retryable: f.Kind.Retryable()}
}

// Disposition is what a callback leads to. Each is answered with 200.
type Disposition uint8

// The dispositions.
const (
	Recorded     Disposition = iota // its event is appended or published
	AlreadyEnded                    // nothing: the job had a terminal event before
	Stale                           // it belongs to an old attempt: its outcome is kept as discarded
)

// judgeCallback decides what a callback of an attempt leads to. Nothing that is reported of an
// erased job is kept, not even the outcome of an old attempt.
func judgeCallback(log event.Log, number int) (Disposition, error) {
	switch {
	case len(log) == 0:
		return Recorded, fault.JobNotFound()
	case log.Erased():
		return AlreadyEnded, nil
	case number < log.Attempt():
		return Stale, nil
	case !active(log):
		return AlreadyEnded, nil
	default:
		return Recorded, nil
	}
}

// step is what follows for an attempt that was sent.
type step uint8

const (
	stepNone step = iota // nothing: the job has ended or another attempt took over
	stepWait             // the server has not yet answered the request: check again later
	stepPoll             // the server has the attempt: ask the status URL
	stepNext             // send the attempt after it
)

// afterDispatched decides what follows for an attempt that the server accepted:
//
//  1. While it is the newest attempt, it is polled.
//  2. If the server lost it, attempt number+1 may have begun, and the process may have died before the
//     server accepted that attempt. Then attempt number+1 is sent again.
//  3. If it has lapsed, nothing follows here: HandleLapsed sends the next attempt.
func afterDispatched(log event.Log, number int) step {
	n := newestOf(log)
	switch {
	case !active(log) || n.dispatched != number || n.lapsed >= number:
		return stepNone
	case log.Attempt() == number:
		return stepPoll
	case log.Attempt() == number+1 && n.retried <= number:
		return stepNext
	default:
		return stepNone
	}
}

// afterRefused decides what follows after a callback of an attempt was refused that may have been its
// outcome. The callback may arrive before the server's answer to the request.
func afterRefused(log event.Log, number int) step {
	n := newestOf(log)
	switch {
	case !active(log) || log.Attempt() != number:
		return stepNone
	case n.attempted == number && n.dispatched < number:
		return stepWait
	case n.dispatched == number && n.lapsed < number:
		return stepPoll
	default:
		return stepNone
	}
}

// afterLapsed decides what follows for an attempt that the server did not report on before its
// deadline. The next attempt may have begun already and been interrupted before the server accepted it:
// then it is sent again.
func afterLapsed(log event.Log, number int) step {
	switch {
	case !active(log) || newestOf(log).retried > number:
		return stepNone
	case log.Attempt() == number:
		return stepPoll
	default:
		return stepNext
	}
}

// nextAttempt returns the attempt after one that the server lost or did not report on; false if that
// was the last of maxAttempts. A retry begins a new count.
func nextAttempt(log event.Log, number, maxAttempts int) (attempt, bool) {
	retried := newestOf(log).retried
	first := max(1, retried)
	if log.Attempt() == number && number-first+1 >= maxAttempts {
		return attempt{}, false
	}
	return attempt{number: number + 1, retry: retried}, true
}

// contact is when Sori last had contact with the server about a running attempt.
type contact struct {
	heard    time.Time // of the newest event of the job's log or progress
	progress bool      // the server has reported progress of this attempt
	polled   time.Time // when this process last asked the status URL; zero: never
}

// silence is how long a server that reports progress may be silent before it is polled.
const silence = 5 * time.Second

// pollDelay is how long from now a running attempt need not be polled; if it is 0 or less, the poll is
// due. A server that reports progress is polled soon after it falls silent, and then at growing
// intervals. Any other server is polled every interval.
func pollDelay(c contact, interval time.Duration, now time.Time) time.Duration {
	quiet := interval
	if c.progress {
		quiet = min(silence, interval)
	}
	if c.polled.After(c.heard) {
		return min(max(quiet, c.polled.Sub(c.heard)), interval) - now.Sub(c.polled)
	}
	return quiet - now.Sub(c.heard)
}
