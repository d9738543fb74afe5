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
	Dispatch time.Duration // from received, or retried, to dispatched
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

// over returns the failure of a job whose deadline is over by its log; false
// where it is not, or the job has ended.
func (d Deadlines) over(log event.Log, now time.Time) (event.Failed, bool) {
	if _, ended := log.Ending(); ended || len(log) == 0 {
		return event.Failed{}, false
	}
	begun, dispatched := log[0].Time, false
	for _, r := range log {
		switch r.Event.Name() {
		case event.NameReceived, event.NameRetried:
			begun, dispatched = r.Time, false
		case event.NameDispatched:
			begun, dispatched = r.Time, true
		case event.NameAttempted: // a further one, of a job that was dispatched before
			if dispatched {
				begun = r.Time
			}
		}
	}
	stored, inBucket := event.Last[event.Stored](log)
	failed := event.Failed{JobID: log[0].Event.Job(), Attempt: log.Attempt(), Retryable: inBucket}
	if dispatched {
		failed.Code, failed.Detail = "analysis-timeout", "The analysis did not finish in time."
		return failed, now.Sub(begun) >= d.analysis(stored.Duration)
	}
	failed.Code, failed.Detail = "dispatch-timeout", "The analysis server could not be reached in time."
	if !inBucket {
		failed.Detail = "The audio could not be stored in time. Please upload it again."
	}
	return failed, now.Sub(begun) >= d.Dispatch
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

// Sweeper ends jobs whose deadline is over, so that none is processing for ever.
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

// Sweep ends every job whose deadline is over at the given time. A job that
// cannot be ended does not keep the others.
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

// end fails one job if its log says so, too. Where the log tells of an ending, or
// of a newer stage, the record has missed it and is made good.
func (s *Sweeper) end(ctx context.Context, o Overdue, now time.Time) error {
	var failed event.Failed
	var over bool
	log, err := s.control.journal.Decide(ctx, o.JobID, nil, func(log event.Log) (event.Event, error) {
		if failed, over = s.deadlines.over(log, now); over {
			return failed, nil
		}
		return nil, nil
	})
	if err != nil {
		return err
	}
	if over {
		s.log.Warn().Str(logging.JobID, o.JobID).Int(logging.Attempt, failed.Attempt).Str("code", failed.Code).Msg("deadline over")
	}
	entries := entriesOf(log)
	if len(log) == 0 { // no longer kept, and no ending can be said any more: the record alone tells it
		entries = []Entry{{Seq: o.StateSeq + 1, Time: now, Event: event.Failed{
			JobID: o.JobID, Code: "log-lost", Detail: "What became of the job is no longer known. Please upload the audio again.",
		}}}
	}
	return s.control.projector.Project(ctx, entries)
}
