package analysis

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
)

// Caller is an analysis server that has proven which attempt it speaks for. Only
// Authenticate makes one.
type Caller struct {
	job     string
	attempt int
}

// Reception is what became of a callback.
type Reception uint8

// The receptions. All of them are a 200.
const (
	Recorded Reception = iota // an event is durable
	Repeated                  // the job had ended already
	Stale                     // of an attempt that is no longer the newest
)

// Authenticate judges a callback by the job_id, attempt and sig of its URL, as
// they came. It needs no body: nobody else makes us read one.
func (c *Core) Authenticate(job, attempt, sig string) (Caller, error) {
	if job == "" {
		return Caller{}, fault.New(fault.Invalid, "job-id-missing", "The query parameter job_id is missing.")
	}
	id, ok := event.ParseJobID(job)
	if !ok {
		return Caller{}, fault.New(fault.NotFound, "job-not-found", "There is no such job.")
	}
	n, err := strconv.Atoi(attempt)
	if err != nil || n < 1 || !c.signer.Valid(id, n, sig) {
		return Caller{}, fault.New(fault.Unauthenticated, "signature-invalid",
			"The signature does not fit. Use the webhook URL exactly as it was given.")
	}
	return Caller{job: id, attempt: n}, nil
}

// Job is the job that the caller speaks for.
func (c Caller) Job() string { return c.job }

// Receive judges a callback's body and records what it says.
func (c *Core) Receive(ctx context.Context, from Caller, body []byte) (Reception, error) {
	report, err := parseReport(body)
	if err != nil {
		return Recorded, err
	}
	if report.status == statusProcessing {
		return c.progress(ctx, from.job, from.attempt, report)
	}
	return c.outcome(ctx, from.job, from.attempt, report)
}

// judge reads the log as far as a callback goes: it returns a reception other
// than Recorded where the callback changes nothing. What is reported of an erased
// job is not even kept as that of an old attempt is.
func judge(log event.Log, attempt int) (Reception, error) {
	if len(log) == 0 {
		return Recorded, fault.New(fault.NotFound, "job-not-found", "There is no such job.")
	}
	if log.Erased() {
		return Repeated, nil
	}
	if attempt < log.Attempt() {
		return Stale, nil
	}
	if _, ended := log.Ending(); ended {
		return Repeated, nil
	}
	return Recorded, nil
}

func (c *Core) progress(ctx context.Context, job string, attempt int, r report) (Reception, error) {
	log, err := c.journal.Log(ctx, job)
	if err != nil {
		return Recorded, err
	}
	reception, err := judge(log, attempt)
	if err != nil || reception != Recorded || !c.pace.allow(job, time.Now()) {
		return reception, err
	}
	return Recorded, c.journal.Tell(ctx, event.Progressed{
		JobID: job, Attempt: attempt, Percent: r.percent, Message: r.message,
	})
}

// outcome ends the job with what the server found. What it found in an earlier
// attempt is kept, and changes nothing.
func (c *Core) outcome(ctx context.Context, job string, attempt int, r report) (Reception, error) {
	reception, err := c.conclude(ctx, job, attempt, r)
	if err == nil && reception == Stale {
		err = c.journal.Tell(ctx, c.discarded(job, attempt, r))
	}
	return reception, err
}

func (c *Core) conclude(ctx context.Context, job string, attempt int, r report) (Reception, error) {
	ending, discard, err := c.ending(ctx, job, attempt, r)
	if err != nil {
		return Recorded, err
	}
	if ending == nil { // settled before anything was made
		return discard.reception, nil
	}
	var reception Reception
	_, err = c.journal.Decide(ctx, job, nil, func(log event.Log) (event.Event, error) {
		var err error
		if reception, err = judge(log, attempt); err != nil || reception != Recorded {
			return nil, err
		}
		return ending, nil
	})
	if err == nil && reception == Recorded {
		zerolog.Ctx(ctx).Info().Str(logging.JobID, job).Int(logging.Attempt, attempt).
			Str(logging.Event, string(ending.Name())).Msg("analysis reported")
		return Recorded, nil
	}
	if discard.entry != "" && !fault.Is(err, fault.Unavailable) { // unknown outcome: the sweeper decides
		if dropErr := c.staging.Unstage(ctx, discard.entry); dropErr != nil {
			zerolog.Ctx(ctx).Warn().Err(dropErr).Msg("refused result left to the sweeper")
		}
	}
	return reception, err
}

// discarded makes the event of an outcome that came too late.
func (c *Core) discarded(job string, attempt int, r report) event.Discarded {
	d := event.Discarded{JobID: job, Attempt: attempt, Status: r.status, Detail: r.reason}
	if c.fits(event.Completed{JobID: job, Attempt: attempt, Result: r.result}) {
		d.Result = r.result
	}
	return d
}

// leftover is what is to be forgotten where an ending is refused.
type leftover struct {
	entry     string
	reception Reception
}

// ending makes the event of an outcome. A result too large for a message is
// staged; the log is read before, so that repetitions do not stage it again.
func (c *Core) ending(ctx context.Context, job string, attempt int, r report) (event.Event, leftover, error) {
	if r.status == statusFailed {
		return event.Failed{JobID: job, Attempt: attempt, Code: r.code, Detail: r.reason, Retryable: r.retryable}, leftover{}, nil
	}
	completed := event.Completed{JobID: job, Attempt: attempt, Result: r.result}
	if c.fits(completed) {
		return completed, leftover{}, nil
	}
	log, err := c.journal.Log(ctx, job)
	if err != nil {
		return nil, leftover{}, err
	}
	if reception, err := judge(log, attempt); err != nil || reception != Recorded {
		return nil, leftover{reception: reception}, err
	}
	staged, err := c.staging.Stage(ctx, event.ResultEntry(job), bytes.NewReader(r.result))
	if err != nil {
		return nil, leftover{}, err
	}
	completed.Result, completed.ResultEntry, completed.ResultChunks = nil, staged.Entry, staged.Chunks
	return completed, leftover{entry: staged.Entry}, nil
}

// fits reports whether a message holds a result as it will travel: escapes may
// make it six times as long.
func (c *Core) fits(completed event.Completed) bool {
	encoded, err := json.Marshal(completed)
	return err == nil && int64(len(encoded)) <= c.staging.MaxPayload()/2
}

// The statuses of a report.
const (
	statusCompleted  = "completed"
	statusFailed     = "failed"
	statusProcessing = "processing"
)

// report is a callback's body, checked.
type report struct {
	status    string
	result    json.RawMessage
	code      string // of a failure
	reason    string
	retryable bool
	percent   int
	message   string
}

// failed makes the report of a failure.
func failed(why json.RawMessage, more failureFields) report {
	r := report{status: statusFailed, reason: reason(why)}
	r.code, r.retryable = more.read(event.CodeAnalysisFailed)
	return r
}

// The longest texts of the server's that are kept, in runes.
const (
	maxReason  = 2000
	maxMessage = 200
)

func parseReport(body []byte) (report, error) {
	var b struct {
		Status   json.RawMessage `json:"status"`
		Results  json.RawMessage `json:"analysis_results"`
		Error    json.RawMessage `json:"error"`
		Progress json.RawMessage `json:"progress"`
		Message  json.RawMessage `json:"message"`
		failureFields
	}
	trimmed := bytes.TrimSpace(body)
	if !utf8.Valid(body) || len(trimmed) == 0 || trimmed[0] != '{' {
		return report{}, fault.New(fault.Invalid, "malformed-json", "The body is no JSON object.")
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return report{}, fault.Wrap(fault.Invalid, "malformed-json", "The body is no JSON object.", err)
	}
	status := statusCompleted
	if given(b.Status) && json.Unmarshal(b.Status, &status) != nil {
		status = ""
	}
	switch {
	case status == statusCompleted && given(b.Results):
		return report{status: status, result: b.Results}, nil
	case status == statusCompleted:
		return report{}, invalid("/analysis_results", "A completed analysis needs its results.")
	case status == statusFailed:
		return failed(b.Error, b.failureFields), nil
	case status != statusProcessing:
		return report{}, invalid("/status", "The status is none of completed, failed, processing.")
	}
	var percent float64
	if !given(b.Progress) || json.Unmarshal(b.Progress, &percent) != nil || percent < 0 || percent > 100 {
		return report{}, invalid("/progress", "The progress must be a number from 0 to 100.")
	}
	var message string
	_ = json.Unmarshal(b.Message, &message) // what is no text is left out
	return report{status: status, percent: int(percent), message: Quote(message, maxMessage)}, nil
}

// given reports whether a field is there with a value.
func given(field json.RawMessage) bool { return len(field) > 0 && !bytes.Equal(field, []byte("null")) }

func invalid(pointer, detail string) error {
	return &fault.Error{
		Kind: fault.Invalid, Code: "validation-failed", Detail: detail,
		Violations: []fault.Violation{{Pointer: pointer, Detail: detail}},
	}
}

// reason reads the server's error, which should be a string and may be anything.
func reason(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	if text = Quote(text, maxReason); text == "" || text == "null" {
		return "The analysis failed without a reason."
	}
	return text
}
