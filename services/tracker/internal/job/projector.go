package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Rows keeps the records.
type Rows interface {
	// Find returns the newest version of a job; false where there is none to show.
	Find(ctx context.Context, id string) (Snapshot, bool, error)
	// Recording returns where the recording of a job lies; without a key where there
	// is none, or no job to show.
	Recording(ctx context.Context, id string) (Recording, error)
	// Merge takes the news of any number of jobs in, all or none, and returns the
	// snapshots of those whose version grew.
	Merge(ctx context.Context, news map[string][]Entry) ([]Snapshot, error)
	// Deleted returns which of the tokens are deleted.
	Deleted(ctx context.Context, tokens []int64) ([]int64, error)
}

// Staging is where large results lie until they are recorded.
type Staging interface {
	OpenStaged(ctx context.Context, s event.Staged) (io.Reader, error)
	Unstage(ctx context.Context, entry string) error
}

// Journal is the log of the jobs.
type Journal interface {
	Log(ctx context.Context, job string) (event.Log, error)
	Decide(ctx context.Context, job string, known event.Log, decide func(event.Log) (event.Event, error)) (event.Log, error)
}

// Announcer tells every copy of the tracker of a new version. What it tells may
// be lost.
type Announcer interface {
	Announce(s Snapshot) error
}

// Projector turns events into records.
type Projector struct {
	rows    Rows
	staging Staging
	journal Journal
	live    Announcer
}

// NewProjector makes a projector.
func NewProjector(rows Rows, staging Staging, journal Journal, live Announcer) *Projector {
	return &Projector{rows: rows, staging: staging, journal: journal, live: live}
}

// Project records entries and announces what changed; jobs that come when their
// token is deleted are erased. With an error some of them may be recorded;
// projecting them again harms nothing.
func (p *Projector) Project(ctx context.Context, entries []Entry) error {
	for rest := entries; len(rest) > 0; {
		n := portion(rest)
		if err := p.project(ctx, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return p.eraseOrphans(ctx, entries)
}

// recordTimeout bounds how long an answer waits for the record.
const recordTimeout = 2 * time.Second

// record takes the log into the job's record without waiting for its consumer,
// which does it again. A failure is no failure of the decision, which is durable.
func (p *Projector) record(ctx context.Context, log event.Log) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	if err := p.Project(ctx, entriesOf(log)); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("decision not recorded yet")
	}
}

// The bounds of one transaction: what staged results may be held in memory for it.
const (
	portionBytes = 16 << 20
	chunkBytes   = 256 << 10 // the most that one message of staging holds
)

// portion tells how many of the entries to record at once. Since their order
// does not matter, neither does where they are parted.
func portion(entries []Entry) int {
	bytes := 0
	for i, e := range entries {
		if ev, ok := e.Event.(event.Completed); ok {
			bytes += len(ev.Result) + ev.ResultChunks*chunkBytes
		}
		if bytes > portionBytes && i > 0 {
			return i
		}
	}
	return len(entries)
}

func (p *Projector) project(ctx context.Context, entries []Entry) error {
	news := make(map[string][]Entry, len(entries))
	var staged []string
	for _, e := range entries {
		if ev, ok := e.Event.(event.Completed); ok {
			result, err := p.result(ctx, ev)
			if err != nil {
				return err
			}
			if e.Result = result; ev.ResultEntry != "" {
				staged = append(staged, ev.ResultEntry)
			}
		}
		news[e.Event.Job()] = append(news[e.Event.Job()], e)
	}
	changed, err := p.rows.Merge(ctx, news)
	if err != nil {
		return err
	}
	for _, s := range changed {
		if err := p.live.Announce(s); err != nil { // viewers read again by themselves
			zerolog.Ctx(ctx).Debug().Err(err).Msg("change not announced")
		}
	}
	for _, entry := range staged {
		if err := p.staging.Unstage(ctx, entry); err != nil {
			return err
		}
	}
	return nil
}

// result fetches the result of a completed job.
func (p *Projector) result(ctx context.Context, ev event.Completed) (Result, error) {
	if ev.ResultEntry == "" {
		return Result(ev.Result), nil
	}
	text, err := p.fetch(ctx, event.Staged{Entry: ev.ResultEntry, Chunks: ev.ResultChunks})
	if errors.Is(err, event.ErrStagingGone) {
		return p.unstaged(ctx, ev.JobID, err)
	}
	if err != nil {
		return "", err
	}
	if !json.Valid(text) {
		return "", fault.New(fault.Invalid, "result-malformed", "The result is not JSON.")
	}
	return Result(text), nil
}

// unstaged returns the result of a job that is no longer staged: it is recorded
// already, or the job is erased, else it is lost.
func (p *Projector) unstaged(ctx context.Context, id string, gone error) (Result, error) {
	row, found, err := p.rows.Find(ctx, id)
	if err != nil {
		return "", err
	}
	if found && (row.Status == Completed || row.Status == Erased) {
		return row.Result, nil
	}
	log, err := p.journal.Log(ctx, id) // which may know more than the record
	if err != nil || log.Erased() {
		return "", err
	}
	return "", fault.Wrap(fault.Invalid, "result-lost", "The result was lost before it could be recorded.", gone)
}

func (p *Projector) fetch(ctx context.Context, s event.Staged) ([]byte, error) {
	r, err := p.staging.OpenStaged(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("open result %s: %w", s.Entry, err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read result %s: %w", s.Entry, err)
	}
	return text, nil
}

// GiveUp ends the job of an event that cannot be recorded, so that nobody waits
// for it for ever: it is said failed where the log still allows that; where the
// event itself is the ending, the record alone says so. Progress is not worth a
// job's end, and neither is an event that only a newer release knows.
func (p *Projector) GiveUp(ctx context.Context, id string, e Entry) error {
	failed := event.Failed{JobID: id, Code: event.CodeUnprojectable, Detail: "The job's record could not be kept."}
	log, err := p.journal.Decide(ctx, id, nil, func(log event.Log) (event.Event, error) {
		if _, ended := log.Ending(); ended || len(log) == 0 || !needed(e, log) {
			return nil, nil
		}
		failed.Attempt = min(log.Attempt(), math.MaxInt32) // a greater one may be what spoils
		return failed, nil
	})
	if err != nil || !needed(e, log) {
		return err
	}
	var standIn event.Event
	if nameOf(e, log) == event.NameErased { // which says all by its name
		standIn = event.Erased{JobID: id}
	} else if received, ok := e.Event.(event.Received); ok { // without the texts that spoilt it, so that the job can be seen
		standIn = event.Received{JobID: id, TokenID: received.TokenID}
	} else if nameOf(e, log).Ending() { // the event itself may still take its place (Record.step)
		standIn = failed
	} else {
		return nil
	}
	if err := p.Project(ctx, []Entry{{Event: standIn, Seq: e.Seq, Time: e.Time}}); err != nil {
		return fmt.Errorf("record a stand-in for event %d: %w", e.Seq, err)
	}
	return nil
}

// nameOf tells which event it is; of one that could not be read the log knows
// it. Empty where neither does, as with progress that could not be read.
func nameOf(e Entry, log event.Log) event.Name {
	if e.Event != nil {
		return e.Event.Name()
	}
	for _, r := range log {
		if r.Seq == e.Seq {
			return r.Event.Name()
		}
	}
	return ""
}

// needed reports whether a record without the event would be wrong.
func needed(e Entry, log event.Log) bool {
	switch nameOf(e, log) {
	case event.NameReceived, event.NameStored, event.NameAttempted, event.NameDispatched,
		event.NameCompleted, event.NameFailed, event.NameCanceled, event.NameRetried,
		event.NameLapsed, event.NameErased:
		return true
	default:
		return false
	}
}
