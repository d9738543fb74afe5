package command

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/logging"
)

// Deadlines has two time limits: one until the analysis server accepts a job, and one for the
// analysis. The second depends on the duration of the recording.
type Deadlines struct {
	Dispatch time.Duration // from the event received, retried or lapsed to the event dispatched
	Factor   float64       // an analysis may take Factor times the duration of the recording
	Min, Max time.Duration // bounds of the time for an analysis, which is Max if the duration is unknown
}

// analysis returns how long the analysis of a recording of the given duration may take.
func (d Deadlines) analysis(seconds float64) time.Duration {
	if seconds <= 0 || seconds*d.Factor >= d.Max.Seconds() {
		return d.Max
	}
	return max(d.Min, time.Duration(seconds*d.Factor*float64(time.Second)))
}

// minFollow is the shortest deadline of a job that waits for the analysis of another job, counted
// from its newest waiting event. The dispatcher publishes such an event every few minutes.
const minFollow = 30 * time.Minute

// rule returns the rule that appends an event if a deadline has passed at the time now. The
// parameter followed is the time when the dispatcher last published that the job waits for the
// analysis of another job; zero if it has not. The rule appends
//
//  1. nothing if no deadline has passed or the job has ended,
//  2. nothing if the job has no attempt yet and followed is less than minFollow ago (or less than
//     Deadlines.Dispatch, if that is longer),
//  3. lapsed if the analysis server has accepted the attempt, so that the dispatcher may begin
//     another attempt, and
//  4. failed in any other case.
func (d Deadlines) rule(now, followed time.Time) Rule {
	return func(log event.Log) (event.Event, error) {
		if _, ended := log.Terminal(); ended || len(log) == 0 {
			return nil, nil
		}
		from := log[0] // the deadline counts from this event
		for _, r := range log[1:] {
			switch r.Event.Name() {
			case event.NameReceived, event.NameRetried, event.NameDispatched, event.NameLapsed:
				from = r
			}
		}
		if log.Attempt() == 0 && now.Sub(followed) < max(d.Dispatch, minFollow) {
			return nil, nil
		}
		return d.overdueEvent(log, from.Event.Name(), now.Sub(from.Time)), nil
	}
}

// overdueEvent returns the event to append because a deadline has passed; nil if none has passed.
// The parameter last is the type of the event that began the current stage, and took is the time
// since that event.
func (d Deadlines) overdueEvent(log event.Log, last event.Name, took time.Duration) event.Event {
	id, attempt := log[0].Event.Job(), log.Attempt()
	stored, inBucket := event.Last[event.Stored](log)
	switch {
	case last == event.NameDispatched && took >= d.analysis(stored.Duration):
		return event.Lapsed{JobID: id, Attempt: attempt}
	case last == event.NameDispatched || took < d.Dispatch:
		return nil
	case last == event.NameLapsed:
		return event.Failed{
			JobID: id, Attempt: attempt, Code: event.CodeAnalysisTimeout, Retryable: inBucket,
			Detail: "The analysis did not finish in time.",
		}
	case inBucket:
		return event.Failed{
			JobID: id, Attempt: attempt, Code: event.CodeDispatchTimeout, Retryable: true,
			Detail: "The analysis server could not be reached in time.",
		}
	case hasSource(log):
		return event.Failed{
			JobID: id, Attempt: attempt, Code: event.CodeDispatchTimeout, Retryable: true,
			Detail: "The audio could not be fetched and stored in time.",
		}
	default: // the recording is neither in the bucket nor can it be fetched
		return event.Failed{
			JobID: id, Attempt: attempt, Code: event.CodeDispatchTimeout,
			Detail: "The audio could not be stored in time. Please upload it again.",
		}
	}
}

// Overdue is a job whose deadline has passed according to its record.
type Overdue struct {
	JobID    string
	StateSeq uint64
	StageAt  time.Time
}

// OverdueRows finds records whose deadline has passed.
type OverdueRows interface {
	// Overdue returns at most limit jobs whose deadline has passed at the time now. They are sorted
	// by StageAt and id, and begin after the job in the parameter after.
	Overdue(ctx context.Context, d Deadlines, now time.Time, after Overdue, limit int) ([]Overdue, error)
}

// Waits finds why jobs wait.
type Waits interface {
	// LastWaiting returns the newest waiting event of a job, and when it was published. The event
	// is nil if there is none.
	LastWaiting(ctx context.Context, job string) (*event.Waiting, time.Time, error)
}

// Sweeper handles jobs whose deadline has passed, so that no job stays processing forever. If the
// analysis server has accepted the job's attempt, Sweeper appends the event `lapsed`, so that the
// dispatcher may begin another attempt. Otherwise it appends the event `failed`.
//
// Sweeper scans the records periodically. It sets no timer for each job, because timers could be
// lost, fire twice, or outlive their jobs. The records only yield candidates: Sweeper checks the
// log of each candidate, and only one of several replicas can append the event.
type Sweeper struct {
	rows      OverdueRows
	waits     Waits
	decider   *Decider
	deadlines Deadlines
	interval  time.Duration
	log       zerolog.Logger
}

// SweeperOptions are the settings of a sweeper.
type SweeperOptions struct {
	Deadlines Deadlines
	Interval  time.Duration // longest time from the end of a sweep to the next
	Log       zerolog.Logger
}

// NewSweeper makes a sweeper.
func NewSweeper(decider *Decider, rows OverdueRows, waits Waits, o SweeperOptions) *Sweeper {
	return &Sweeper{rows: rows, waits: waits, decider: decider, deadlines: o.Deadlines, interval: o.Interval, log: o.Log}
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	return sweepRepeatedly(ctx, s.interval, s.log, s.Sweep)
}

// Sweep handles every job whose deadline has passed at the time now. If it fails for one job, it
// continues with the others.
func (s *Sweeper) Sweep(ctx context.Context, now time.Time) error {
	return sweepPages(s.log.WithContext(ctx), func(ctx context.Context, after Overdue) ([]Overdue, error) {
		return s.rows.Overdue(ctx, s.deadlines, now, after, sweepPage)
	}, func(ctx context.Context, o Overdue) error { return s.end(ctx, o, now) })
}

// end appends the event that the deadline requires to the log of a job, and records the log. If the
// log already has a terminal event or a newer stage, end only updates the record, which has missed
// it.
func (s *Sweeper) end(ctx context.Context, o Overdue, now time.Time) error {
	followed, err := s.followed(ctx, o.JobID)
	if err != nil {
		return err
	}
	log, appended, err := s.decider.append(ctx, o.JobID, s.deadlines.rule(now, followed))
	if err != nil {
		return err
	}
	if appended != nil {
		s.log.Warn().Str(logging.JobID, o.JobID).Int(logging.Attempt, log.Attempt()).
			Str(logging.Event, string(appended.Name())).Msg("deadline over")
	}
	entries := job.Entries(log)
	if len(log) == 0 { // the log has expired: end the job in its record only, since no event can be appended
		entries = []job.Entry{{Seq: o.StateSeq + 1, Time: now, Event: event.Failed{
			JobID: o.JobID, Code: event.CodeLogLost,
			Detail: "What became of the job is no longer known. Please upload the audio again.",
		}}}
	}
	return s.decider.record(ctx, entries)
}

// followed returns when it was last published that a job waits for the analysis of another job. It
// returns the zero time if the newest waiting event has another reason, or if there is none.
func (s *Sweeper) followed(ctx context.Context, id string) (time.Time, error) {
	waiting, at, err := s.waits.LastWaiting(ctx, id)
	if err != nil || waiting == nil || waiting.Code != event.CodeSameRecording {
		return time.Time{}, err
	}
	return at, nil
}
