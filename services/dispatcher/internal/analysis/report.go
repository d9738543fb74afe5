package analysis

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// The statuses of a report.
const (
	statusCompleted  = "completed"
	statusFailed     = "failed"
	statusProcessing = "processing"
)

// normalizeStatus maps a status to one of the three statuses of a report. It accepts the words that
// analysis servers and job queues use, in any case and with any separator. The words for an
// analysis that was stopped without a result map to "failed". An unknown word maps to "".
func normalizeStatus(word string) string {
	switch strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(word)) {
	case "completed", "complete", "success", "successful", "succeeded", "succeed", "done", "ok", "finished", "finish", "processed":
		return statusCompleted
	case "failed", "fail", "failure", "error", "errored", "exception", "rejected", "canceled", "cancelled", "aborted", "revoked",
		"stopped", "terminated", "killed", "crashed", "timeout", "timedout", "expired", "outofmemory", "nodefail":
		return statusFailed
	case "processing", "running", "pending", "queued", "accepted", "started", "received", "inprogress", "progress",
		"starting", "notstarted", "inqueue", "waiting", "scheduled", "submitted", "created", "retry", "retrying", "analyzing", "analysing",
		"active", "delayed", "paused", "prioritized", "waitingchildren", "deferred", "enqueued", "runnable",
		"validating", "preparing", "initializing", "loading", "booting", "configuring", "transcribing", "finalizing", "completing",
		"suspended", "stopping", "canceling", "cancelling":
		return statusProcessing
	default:
		return ""
	}
}

// report is a validated report of the server about an analysis.
type report struct {
	status    string
	result    json.RawMessage
	warnings  []string // codes of the corrections that were made to the result
	code      string   // failure code, if the analysis has failed
	reason    string
	retryable bool
	percent   int
	message   string
}

// The largest lengths of stored texts that come from the server, in runes.
const (
	maxReason  = 2000
	maxMessage = 200
)

// isResults reports whether servers send results in the member with the given name.
func isResults(name string) bool {
	switch name {
	case "analysis_results", "analysisResults", "result", "results", "output":
		return true
	}
	return false
}

// fields are the members of a report, before validation.
type fields struct {
	Status   json.RawMessage `json:"status"`
	State    json.RawMessage `json:"state"` // used as status if status is absent or unknown, and state is not
	Results  json.RawMessage `json:"analysis_results"`
	Camel    json.RawMessage `json:"analysisResults"` // the names of members in Java, C# and JavaScript
	Result   json.RawMessage `json:"result"`
	Plural   json.RawMessage `json:"results"`
	Output   json.RawMessage `json:"output"`   // used as results if the report states completion
	Done     json.RawMessage `json:"done"`     // used as status if there is none: false means processing
	Response json.RawMessage `json:"response"` // the results of an operation that is done
	Data     json.RawMessage `json:"data"`     // used as results if a callback has none of the above
	Progress json.RawMessage `json:"progress"`
	Error    json.RawMessage `json:"error"`
	Errors   json.RawMessage `json:"errors"` // used as error if there is none, as in GraphQL
	Message  json.RawMessage `json:"message"`
	Detail   json.RawMessage `json:"detail"`
	Reason   json.RawMessage `json:"reason"`
	Success  json.RawMessage `json:"success"` // without a status, false means failed
	failureFields

	nonFinite bool // NaN or infinities were replaced by null
}

// parseFields parses the JSON object that a server sent. Unlike json.Unmarshal it accepts a byte
// order mark before the object, and NaN and infinities.
func parseFields(body []byte) (fields, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	var f fields
	if !utf8.Valid(body) || len(body) == 0 || body[0] != '{' {
		return f, fault.MalformedJSON("The body is no JSON object.", nil)
	}
	err := json.Unmarshal(body, &f)
	if err != nil {
		if fixed, found := replaceNonFinite(body); found {
			f = fields{nonFinite: true}
			err = json.Unmarshal(fixed, &f)
		}
	}
	if err != nil {
		return f, fault.MalformedJSON("The body is no JSON object.", err)
	}
	if !present(f.Error) && IsError(f.Errors) {
		f.Error = f.Errors
	}
	candidates := []json.RawMessage{f.Camel, f.Result, f.Plural}
	if f.stated() == statusCompleted {
		candidates = append(candidates, f.Output)
	}
	if _, operation := f.done(); operation {
		candidates = append(candidates, f.Response)
	}
	for _, results := range candidates {
		if !present(f.Results) {
			f.Results = results
		}
	}
	return f, nil
}

// stated returns the status that the report states, or "" if it states none that is known.
func (f fields) stated() string {
	for _, raw := range []json.RawMessage{f.Status, f.State} {
		var word string
		_ = json.Unmarshal(raw, &word) // a value that is not a string leaves word empty, which is unknown
		if status := normalizeStatus(word); status != "" {
			return status
		}
	}
	status, _ := f.done()
	return status
}

// done returns the status of a long-running operation, as Google's services report it: done is a
// boolean, and an operation that is done has an error or a response. It returns false if the report has
// a status or a state, or no such boolean.
func (f fields) done() (status string, operation bool) {
	switch {
	case present(f.Status) || present(f.State):
		return "", false
	case string(f.Done) == "false":
		return statusProcessing, true
	case string(f.Done) == "true" && IsError(f.Error):
		return statusFailed, true
	case string(f.Done) == "true":
		return statusCompleted, true
	default:
		return "", false
	}
}

// status returns the status of the report, or false if the status is unknown. A report without a
// status is completed, unless it says "success": false, or has an error and no results. Empty results
// count as no results: a server whose reports always have the same members sends them with a failure.
func (f fields) status() (string, bool) {
	stated := f.stated()
	switch {
	case stated != "" || present(f.Status):
		return stated, stated != ""
	case f.unsuccessful(), present(f.Error) && !present(f.Results), f.saysError() && empty(f.Results):
		return statusFailed, true
	default:
		return statusCompleted, true
	}
}

// unsuccessful reports whether the report contains "success": false.
func (f fields) unsuccessful() bool {
	success, ok := parseBool(f.Success)
	return ok && !success
}

// completed makes the report of a completed analysis. If the server sent no result, the result is
// an empty object, with a warning.
func (f fields) completed() report {
	r := report{status: statusCompleted, result: f.Results}
	if !present(f.Results) {
		r.result, r.warnings = json.RawMessage("{}"), append(r.warnings, event.WarningNoResults)
	}
	if f.nonFinite {
		r.warnings = append(r.warnings, event.WarningNonFinite)
	}
	return r
}

// failed makes the report of a failed analysis. If the results are a text, they may be the reason:
// the result of a failed task of Celery is the text of its exception.
func (f fields) failed() report {
	reasons := []json.RawMessage{f.Error, f.Message, f.Detail, f.Reason}
	if bytes.HasPrefix(f.Results, []byte(`"`)) {
		reasons = append(reasons, f.Results)
	}
	r := report{status: statusFailed, reason: parseReason(reasons...)}
	r.code, r.retryable = f.orIn(f.Error, f.Detail).parse(event.CodeAnalysisFailed)
	return r
}

// parseReport parses a callback. If it returns an error and the callback was a progress report, the
// status of the returned report is processing.
func parseReport(body []byte) (report, error) {
	f, err := parseFields(body)
	if err != nil {
		return report{}, err
	}
	f = f.reported()
	status, known := f.status()
	switch {
	case !known:
		return report{}, invalidField("/status", "The status is none of completed, failed, processing.")
	case status == statusCompleted && !present(f.Results) && f.stated() == "":
		return report{}, invalidField("/analysis_results", "A completed analysis needs its results.")
	case status == statusCompleted:
		if !present(f.Results) && structured(f.Data) {
			f.Results = f.Data
		}
		return f.completed(), nil
	case status == statusFailed:
		return f.failed(), nil
	}
	percent, ok := parsePercent(f.Progress)
	if !ok {
		return report{status: statusProcessing}, invalidField("/progress", "The progress must be a number from 0 to 100.")
	}
	var message string
	_ = json.Unmarshal(f.Message, &message) // a message that is not a string is omitted
	return report{status: statusProcessing, percent: percent, message: Sanitize(message, maxMessage)}, nil
}

// parsePercent parses a progress: a number, or a string with a number. If the progress is absent,
// it is 0.
func parsePercent(raw json.RawMessage) (int, bool) {
	if !present(raw) {
		return 0, true
	}
	text := strings.TrimSpace(strings.TrimSuffix(strings.Trim(string(raw), `" `), "%"))
	percent, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(percent) || percent < 0 || percent > 100 {
		return 0, false
	}
	return int(percent), true
}

// parseStatus parses the body of an answer of the status URL. It returns false if the body has no
// usable status. The status completed without results is not usable either, because the callback
// may still deliver the results.
func parseStatus(answer []byte) (report, bool) {
	f, err := parseFields(answer)
	if err != nil {
		return report{}, false
	}
	f = f.unwrapped()
	switch f.stated() {
	case statusCompleted:
		return f.completed(), present(f.Results) && !acknowledge(f.Results)
	case statusFailed:
		return f.failed(), true
	case statusProcessing:
		return report{status: statusProcessing}, true
	default:
		return report{}, false
	}
}

// unwrapped returns the report that an answer wraps in result or data. It returns the answer itself
// if that states a status that is more than the success of the request, or if no report is in it.
func (f fields) unwrapped() fields {
	if stated := f.stated(); stated == statusFailed || stated == statusProcessing || stated == statusCompleted && present(f.Results) {
		return f
	}
	for _, raw := range []json.RawMessage{f.Results, f.Data} {
		if inner, err := parseFields(raw); err == nil && inner.stated() != "" {
			inner.nonFinite = f.nonFinite
			return inner
		}
	}
	return f
}

// reported returns the report that a callback, or the answer to a request, wraps in result or data: one
// of a failure, or any if there is nothing but data. It returns the callback itself otherwise, since
// results may have members with the names of a report.
func (f fields) reported() fields {
	inner := f.unwrapped()
	if inner.stated() == statusFailed || f.stated() == "" && !present(f.Results) && !f.saysError() {
		return inner
	}
	return f
}

// saysError reports whether the report contains an error, or "success": false. An empty or false
// error does not count, since servers also send it when nothing is wrong.
func (f fields) saysError() bool {
	return IsError(f.Error) || f.unsuccessful()
}

// IsError reports whether the member error of an answer states an error. It returns false if the
// member is absent, empty or false.
func IsError(member json.RawMessage) bool {
	switch string(member) {
	case "", "null", "false", "0", `""`, "{}", "[]":
		return false
	default:
		return true
	}
}

// structured reports whether raw is a JSON object or array.
func structured(raw json.RawMessage) bool {
	return len(raw) > 0 && (raw[0] == '{' || raw[0] == '[')
}

// empty reports whether results are an empty object, array or string.
func empty(results json.RawMessage) bool {
	const longest = 16 // bytes of an empty object or array with blanks in it
	if len(results) > longest {
		return false
	}
	switch string(bytes.Join(bytes.Fields(results), nil)) {
	case "{}", "[]", `""`:
		return true
	}
	return false
}

// present reports whether the report has a member and the member is not null.
func present(field json.RawMessage) bool {
	return len(field) > 0 && !bytes.Equal(field, []byte("null"))
}

func invalidField(pointer, detail string) error {
	return &fault.Error{
		Kind: fault.Invalid, Code: "validation-failed", Detail: detail,
		Violations: []fault.Violation{{Pointer: pointer, Detail: detail}},
	}
}

// parseReason returns the text (Reason) of the first member that states why an analysis failed.
// Empty members and booleans are skipped.
func parseReason(members ...json.RawMessage) string {
	for _, raw := range members {
		switch text := Sanitize(Reason(raw), maxReason); text {
		case "", "null", "true", "false":
		default:
			return text
		}
	}
	return "The analysis failed without a reason."
}
