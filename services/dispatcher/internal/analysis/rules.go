package analysis

import (
	"errors"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// This file has the rules of the package. Each rule is a pure function from a job's log to a
// decision: which request to send, which event to append, how to answer a callback. The other files
// do the I/O.

// attempt is an attempt to send to the analysis server.
type attempt struct {
	number  int
	retry   int           // number of the attempt that the newest retry of the job requested; 0 without a retry
	backoff time.Duration // shortest delay before the attempt is sent again if the server is unavailable; 0: it is not sent again
	free    bool          // the attempt needs no slot
	key     string        // key under which the result is cached; empty if it is not cached
	unsent  bool          // the attempt has begun, but was not sent: it has waited in the queue
	again   bool          // the server may have received the request of the attempt before
}

// newest has the attempt number of the newest event of each of these types; 0 if the log has no
// such event.
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

// active reports whether a job exists and has not ended. A job that has a slot keeps it while the
// job is active, unless releaseSlot frees it.
func active(log event.Log) bool {
	_, ended := log.Terminal()
	return len(log) > 0 && !ended
}

// abandoned reports whether a job was canceled or erased, so that its analysis is not needed any
// more.
func abandoned(log event.Log) bool {
	ended, _ := log.Terminal()
	_, canceled := ended.(event.Canceled)
	return canceled || log.Erased()
}

// recordingOf returns the event with the location of the job's recording.
func recordingOf(log event.Log) (event.Stored, error) {
	s, ok := event.Last[event.Stored](log)
	if !ok {
		return s, fault.New(fault.Invalid, "recording-unknown", "It is not known where the audio is stored.")
	}
	return s, nil
}

// beginAttempt decides whether an attempt is sent to the analysis server. It also returns the event
// to append before the request, which is attempted. The event is nil if the log has attempted
// already, because a crash or an unavailable server interrupted the attempt. The attempt is not
// sent if
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
		e = event.Attempted{JobID: job, Attempt: a.number, ResultKey: a.key}
	}
	return true, e
}

// received reports whether the server has refused the request of an attempt only because it has
// received the request before. A server answers a repeated request with 409 while it still handles
// the first one (the IETF's draft "The Idempotency-Key HTTP Header Field", section 2.7), or because
// it has a job with this id.
func (a attempt) received(err error) bool {
	rejected, ok := errors.AsType[*RejectedError](err)
	return ok && rejected.Conflict && (a.again || rejected.Repeated)
}

// waits reports whether the attempt of a queue entry must still be sent. Its event `attempted` was
// appended before the entry was added to the queue. Therefore a retry after that has requested a
// newer attempt, and the attempt of the entry is not sent.
func waits(log event.Log, e *Entry) bool {
	send, _ := beginAttempt(log, e.JobID, attempt{number: e.Attempt, retry: newestOf(log).retried})
	return send
}

// acceptAttempt returns the event to append after the server accepted an attempt. It returns nil if
// the job has ended, a newer attempt has begun, or the log has the event already. The job may have
// ended because its callback arrived before the server's answer to the request.
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
// job has ended. The failure is retryable if its cause may disappear, for example because a defect
// of Sori is fixed. Invalid input is not retryable.
func failJob(log event.Log, job string, f *fault.Error) event.Event {
	if !active(log) {
		return nil
	}
	return event.Failed{JobID: job, Attempt: log.Attempt(), Code: f.Code, Detail: f.Detail, Retryable: f.Kind.Retryable()}
}

// Disposition is the effect of a callback. The response has the status 200 for every disposition.
type Disposition uint8

// The dispositions.
const (
	Recorded     Disposition = iota // the callback has taken effect: its event is appended or published
	AlreadyEnded                    // no effect, because the job has a terminal event already
	Stale                           // no effect on the job, because there is a newer attempt: the outcome is published as discarded
)

// judgeCallback decides the effect of a callback of the attempt with the given number. A callback
// for an erased job has no effect: even the outcome of an old attempt is not published.
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

// step is what a handler must do next about an attempt that was sent.
type step uint8

const (
	stepNone step = iota // do nothing: the job has ended, or another handler takes care of the attempt
	stepWait             // check again later: the server has not yet answered the request
	stepPoll             // poll the status URL: the server has accepted the attempt
	stepNext             // send the next attempt
)

// afterDispatched returns the next step for an attempt that the server accepted:
//
//  1. stepNone if the job has ended, or if the attempt has lapsed, which HandleLapsed handles.
//  2. stepPoll if there is no newer attempt.
//  3. stepNext if the log has the next attempt, no retry requested that attempt, and the server has
//     not accepted it. The dispatcher may have died before it sent the attempt, so it is sent
//     again.
//  4. stepNone otherwise.
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

// afterRefused returns the next step after a refused callback that may have contained the outcome
// of an attempt. It returns stepWait if the callback arrived before the server's answer to the
// request.
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

// afterLapsed returns the next step for an attempt whose deadline has passed without an outcome. It
// returns stepNext if the log has the next attempt, which was interrupted before the server
// accepted it and is sent again. It returns stepNone if the job has ended or was retried.
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

// nextAttempt returns the attempt that follows the attempt with the given number. It returns false
// if maxAttempts attempts were made since the upload or the newest retry.
func nextAttempt(log event.Log, number, maxAttempts int) (attempt, bool) {
	retried := newestOf(log).retried
	first := max(1, retried)
	if log.Attempt() == number && number-first+1 >= maxAttempts {
		return attempt{}, false
	}
	attempted, _ := event.Last[event.Attempted](log)
	return attempt{number: number + 1, retry: retried, key: attempted.ResultKey}, true
}

// waitsForLeader reports whether a job waits for the analysis of another job: it has not ended, and
// no attempt was made or requested for it.
func waitsForLeader(log event.Log) bool { return active(log) && log.Attempt() == 0 }

// completedBy returns the event `completed` that ended a job. It returns false if the job has not
// ended, has ended otherwise, or is erased.
func completedBy(log event.Log) (event.Completed, bool) {
	terminal, _ := log.Terminal()
	completed, ok := terminal.(event.Completed)
	return completed, ok
}

// cacheKey returns the key under which the result of an attempt is cached. It returns false if the
// result must not be cached, because the attempt has no key or its outcome would have no effect.
func cacheKey(log event.Log, number int) (ResultKey, bool) {
	disposition, err := judgeCallback(log, number)
	attempted, _ := event.Last[event.Attempted](log)
	stored, _ := event.Last[event.Stored](log)
	if err != nil || disposition != Recorded || attempted.Attempt != number || attempted.ResultKey == "" {
		return ResultKey{}, false
	}
	return ResultKey{Token: stored.TokenID, Hash: attempted.ResultKey}, true
}

// contact has the times of the last contact with the server about a running attempt.
type contact struct {
	heard    time.Time // time of the newest event in the job's log, or of its newest progressed event if that is later
	progress bool      // the server has reported progress of this attempt
	polled   time.Time // when this process last polled the status URL; zero: never
}

// silence is how long a server that reports progress may be silent before its status URL is polled.
const silence = 5 * time.Second

// pollDelay returns the time until a running attempt must be polled; 0 or less if the poll is due.
// If the server has reported progress, the first poll comes shortly after the last report, and
// further polls at growing intervals. Otherwise the polls come at the interval.
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
