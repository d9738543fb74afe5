package job

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/logging"
)

// Deadlines are how long a job may take: to reach the analysis server, and then
// to be analysed, which depends on how long the audio is.
type Deadlines struct {
	Dispatch time.Duration // from received, retried or lapsed to dispatched
	Factor   float64       // of the audio's duration
	Min, Max time.Duration // of the analysis, whatever the audio; Max where its duration is unknown
}

// analysis is how long the analysis of so many seconds of audio may take.
func (d Deadlines) analysis(seconds float64) time.Duration {
	if seconds <= 0 || seconds*d.Factor >= d.Max.Seconds() {
		return d.Max
	}
	return max(d.Min, time.Duration(seconds*d.Factor*float64(time.Second)))
}

// over returns what to say of a job whose deadline is over by its log: that the
// attempt has lapsed, where the analysis server has it, so that the dispatcher
// may make another; else that the job has failed. It is nil where no deadline is
// over or the job has ended.
func (d Deadlines) over(log event.Log, now time.Time) event.Event {
	if _, ended := log.Ending(); ended || len(log) == 0 {
		return nil
	}
	since, last := log[0].Time, event.NameReceived
	for _, r := range log {
		switch name := r.Event.Name(); name {
		case event.NameReceived, event.NameRetried, event.NameDispatched, event.NameLapsed:
			since, last = r.Time, name
		}
	}
	id, attempt := log[0].Event.Job(), log.Attempt()
	stored, inBucket := event.Last[event.Stored](log)
	switch took := now.Sub(since); {
	case last == event.NameDispatched && took >= d.analysis(stored.Duration):
		return event.Lapsed{JobID: id, Attempt: attempt}
	case last == event.NameDispatched || took < d.Dispatch:
		return nil
	case last == event.NameLapsed:
		return event.Failed{JobID: id, Attempt: attempt, Code: event.CodeAnalysisTimeout, Retryable: inBucket, Detail: "The analysis did not finish in time."}
	case inBucket:
		return event.Failed{JobID: id, Attempt: attempt, Code: event.CodeDispatchTimeout, Retryable: true, Detail: "The analysis server could not be reached in time."}
	default: // there is nothing in the bucket to try again
		return event.Failed{JobID: id, Attempt: attempt, Code: event.CodeDispatchTimeout, Detail: "The audio could not be stored in time. Please upload it again."}
	}
}

// Overdue is a job whose deadline is over by its record.
type Overdue struct {
	JobID    string
	StateSeq uint64
	StageAt  time.Time
}

// OverdueRows finds records of jobs that have taken too long.
type OverdueRows interface {
	// Overdue returns jobs whose deadline is over at the given time, in the order
	// of StageAt and id, from the one after the given one on.
	Overdue(ctx context.Context, d Deadlines, now time.Time, after Overdue, limit int) ([]Overdue, error)
}

// Sweeper sees to jobs whose deadline is over, so that none is processing for ever.
//
// It looks through the records from time to time instead of setting a timer for
// each job: there is nothing that could be lost, doubled, or left over of a job
// that has ended. Records only point to candidates; the log decides, and lets one
// of all copies win.
type Sweeper struct {
	rows      OverdueRows
	control   *Control
	deadlines Deadlines
	interval  time.Duration
	log       zerolog.Logger
}

// NewSweeper makes a sweeper that looks every interval.
func NewSweeper(rows OverdueRows, control *Control, deadlines Deadlines, interval time.Duration, log zerolog.Logger) *Sweeper {
	return &Sweeper{rows: rows, control: control, deadlines: deadlines, interval: interval, log: log}
}

// Run sweeps until ctx ends. Copies that were started together drift apart.
func (s *Sweeper) Run(ctx context.Context) error {
	for {
		if err := s.Sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.log.Warn().Err(err).Msg("sweep interrupted")
		}
		wait := time.NewTimer(s.interval/2 + rand.N(s.interval/2+1))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil
		}
	}
}

// sweepPage is how many candidates are read at once.
const sweepPage = 500

// Sweep sees to every job whose deadline is over at the given time. A job for
// which that fails does not keep the others.
func (s *Sweeper) Sweep(ctx context.Context, now time.Time) error {
	ctx = s.log.WithContext(ctx)
	var failures []error
	var last Overdue
	for {
		page, err := s.rows.Overdue(ctx, s.deadlines, now, last, sweepPage)
		if err != nil {
			return errors.Join(append(failures, err)...)
		}
		for _, o := range page {
			if err := s.end(ctx, o, now); err != nil {
				failures = append(failures, err)
			}
			last = o
		}
		if len(page) < sweepPage || ctx.Err() != nil || len(failures) >= sweepPage {
			return errors.Join(failures...)
		}
	}
}

// end says of one job what its log asks for. Where the log tells of an ending, or
// of a newer stage, the record has missed it and is made good.
func (s *Sweeper) end(ctx context.Context, o Overdue, now time.Time) error {
	var said event.Event
	log, err := s.control.journal.Decide(ctx, o.JobID, nil, func(log event.Log) (event.Event, error) {
		said = s.deadlines.over(log, now)
		return said, nil
	})
	if err != nil {
		return err
	}
	if said != nil {
		s.log.Warn().Str(logging.JobID, o.JobID).Int(logging.Attempt, log.Attempt()).Str(logging.Event, string(said.Name())).Msg("deadline over")
	}
	entries := entriesOf(log)
	if len(log) == 0 { // no longer kept, and no ending can be said any more: the record alone tells it
		entries = []Entry{{Seq: o.StateSeq + 1, Time: now, Event: event.Failed{
			JobID: o.JobID, Code: event.CodeLogLost, Detail: "What became of the job is no longer known. Please upload the audio again.",
		}}}
	}
	return s.control.projector.Project(ctx, entries)
}
