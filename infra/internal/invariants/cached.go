package invariants

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Recorded is an event of a log, with its sequence in the stream of all logs.
type Recorded struct {
	event.Event
	Seq uint64
}

// Logs returns the log of every job, oldest event first. An event that cannot be decoded is an event.Unreadable.
func (c Checker) Logs(ctx context.Context) (map[string][]Recorded, error) {
	found := map[string][]Recorded{}
	err := c.Bus.Stream(event.Jobs()).Scan(ctx, true, []string{event.AllJobs}, func(m bus.Message) error {
		job, name, err := event.ParseSubject(m.Subject)
		if err != nil {
			return fmt.Errorf("read the logs: %w", err)
		}
		e, err := event.Decode(m.Subject, m.Data)
		if err != nil {
			e = event.Unreadable{JobID: job, Of: name}
		}
		found[job] = append(found[job], Recorded{e, m.Seq})
		return nil
	})
	return found, err
}

// last returns the newest event of a type in a log.
func last[E event.Event](log []Recorded) (e E, seq uint64, ok bool) {
	for _, r := range log {
		if found, is := r.Event.(E); is {
			e, seq, ok = found, r.Seq, true
		}
	}
	return e, seq, ok
}

// CheckCached checks the jobs that were completed with the result of another job, the source. It returns the number of these
// jobs, and an error with all violations of these invariants:
//
//  1. The source was analysed, and was completed before the job.
//  2. The source and the job have the same owner, token and recording.
//  3. The source and the job have the same result.
//  4. An erased source was erased after the recording of the job was stored. Rules 1 to 3 are not checked for it, since its
//     log is gone.
func CheckCached(logs map[string][]Recorded) (count int, err error) {
	var wrong []error
	for job, log := range logs {
		completed, _, ok := last[event.Completed](log)
		if !ok || !completed.Cached {
			continue
		}
		count++
		if err := checkCached(log, logs[completed.CachedFrom]); err != nil {
			wrong = append(wrong, fmt.Errorf("job %s has the result of job %s: %w", job, completed.CachedFrom, err))
		}
	}
	return count, errors.Join(wrong...)
}

func checkCached(log, source []Recorded) error {
	completed, end, _ := last[event.Completed](log)
	stored, storedAt, _ := last[event.Stored](log)
	received, _, _ := last[event.Received](log)
	if _, erased, ok := last[event.Erased](source); ok {
		if erased < storedAt {
			return errors.New("which was erased before")
		}
		return nil
	}
	original, originalEnd, ok := last[event.Completed](source)
	if !ok || original.Cached || originalEnd > end {
		return errors.New("which was not analysed before")
	}
	from, _, _ := last[event.Received](source)
	same, _, _ := last[event.Stored](source)
	if from.Owner != received.Owner || from.TokenID != received.TokenID || same.SHA256 != stored.SHA256 {
		return errors.New("which is of another owner, token or recording")
	}
	if !bytes.Equal(original.Result, completed.Result) {
		return errors.New("and not the same result")
	}
	return nil
}
