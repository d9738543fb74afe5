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

// statusOf reads a status word, of which servers have many, in any case. It is empty
// where the word is none of them.
func statusOf(word string) string {
	switch strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(strings.TrimSpace(word))) {
	case "completed", "complete", "success", "successful", "succeeded", "done", "ok", "finished":
		return statusCompleted
	case "failed", "failure", "error", "errored":
		return statusFailed
	case "processing", "running", "pending", "queued", "accepted", "started", "received", "in_progress", "progress":
		return statusProcessing
	default:
		return ""
	}
}

// report is what the server says of an analysis, checked.
type report struct {
	status    string
	result    json.RawMessage
	warnings  []string // what was mended in it
	code      string   // of a failure
	reason    string
	retryable bool
	percent   int
	message   string
}

// The longest texts of the server's that are kept, in runes.
const (
	maxReason  = 2000
	maxMessage = 200
)

// fields are the members of a report.
type fields struct {
	Status   json.RawMessage `json:"status"`
	Results  json.RawMessage `json:"analysis_results"`
	Result   json.RawMessage `json:"result"`
	Error    json.RawMessage `json:"error"`
	Progress json.RawMessage `json:"progress"`
	Message  json.RawMessage `json:"message"`
	failureFields

	mended bool // numbers that JSON does not have were made null
}

// readFields reads a JSON object, with the liberties that servers take: a byte order
// mark before it, and numbers in it that are not finite.
func readFields(body []byte) (fields, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	var f fields
	if !utf8.Valid(body) || len(body) == 0 || body[0] != '{' {
		return f, fault.New(fault.Invalid, "malformed-json", "The body is no JSON object.")
	}
	err := json.Unmarshal(body, &f)
	if err != nil {
		if mended, some := withoutNonFinite(body); some {
			f = fields{mended: true}
			err = json.Unmarshal(mended, &f)
		}
	}
	if err != nil {
		return f, fault.Wrap(fault.Invalid, "malformed-json", "The body is no JSON object.", err)
	}
	if !given(f.Results) {
		f.Results = f.Result
	}
	return f, nil
}

// status is what the report is about: results alone mean completed, an error alone
// means failed. False where the status is none that is known.
func (f fields) status() (string, bool) {
	var word string
	switch {
	case given(f.Status):
		_ = json.Unmarshal(f.Status, &word) // what is no text is no status
		word = statusOf(word)
		return word, word != ""
	case !given(f.Results) && given(f.Error):
		return statusFailed, true
	default:
		return statusCompleted, true
	}
}

// completed makes the report of a result, which may be empty where the server says
// that it is done.
func (f fields) completed() report {
	r := report{status: statusCompleted, result: f.Results}
	if !given(f.Results) {
		r.result, r.warnings = json.RawMessage("{}"), append(r.warnings, event.WarningNoResults)
	}
	if f.mended {
		r.warnings = append(r.warnings, event.WarningNonFinite)
	}
	return r
}

// failed makes the report of a failure.
func (f fields) failed() report {
	r := report{status: statusFailed, reason: reason(f.Error)}
	r.code, r.retryable = f.read(event.CodeAnalysisFailed)
	return r
}

// parseReport reads a callback. The report is of an outcome unless the error is nil and
// the status says that the analysis goes on.
func parseReport(body []byte) (report, error) {
	f, err := readFields(body)
	if err != nil {
		return report{}, err
	}
	status, known := f.status()
	switch {
	case !known:
		return report{}, invalid("/status", "The status is none of completed, failed, processing.")
	case status == statusCompleted && !given(f.Results) && !given(f.Status):
		return report{}, invalid("/analysis_results", "A completed analysis needs its results.")
	case status == statusCompleted:
		return f.completed(), nil
	case status == statusFailed:
		return f.failed(), nil
	}
	percent, ok := percentOf(f.Progress)
	if !ok {
		return report{status: statusProcessing}, invalid("/progress", "The progress must be a number from 0 to 100.")
	}
	var message string
	_ = json.Unmarshal(f.Message, &message) // what is no text is left out
	return report{status: statusProcessing, percent: percent, message: Quote(message, maxMessage)}, nil
}

// percentOf reads a progress: a number or its text. One that is absent says only that
// the analysis goes on.
func percentOf(raw json.RawMessage) (int, bool) {
	if !given(raw) {
		return 0, true
	}
	text := strings.TrimSpace(strings.TrimSuffix(strings.Trim(string(raw), `" `), "%"))
	percent, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(percent) || percent < 0 || percent > 100 {
		return 0, false
	}
	return int(percent), true
}

// parseStatus reads what the server says of an analysis when it is asked; false where
// that tells nothing to act on. A completed analysis without its results may still be
// reported with them.
func parseStatus(answer []byte) (report, bool) {
	f, err := readFields(answer)
	if err != nil || !given(f.Status) {
		return report{}, false
	}
	switch status, _ := f.status(); status {
	case statusCompleted:
		return f.completed(), given(f.Results)
	case statusFailed:
		return f.failed(), true
	case statusProcessing:
		return report{status: statusProcessing}, true
	default:
		return report{}, false
	}
}

// parseAnswer reads an outcome out of the answer to a request, as servers give it that
// analyse while they are asked; false where the answer only accepts. Results alone are
// no outcome where they are a text or a number, and a status alone is none where it says
// "ok": both are how servers accept.
func parseAnswer(answer []byte) (report, bool) {
	f, err := readFields(answer)
	if err != nil {
		return report{}, false
	}
	switch status, _ := f.status(); {
	case status == statusCompleted && structured(f.Results):
		return f.completed(), true
	case status == statusFailed && given(f.Status):
		return f.failed(), true
	default:
		return report{}, false
	}
}

// structured reports whether JSON text is an object or an array.
func structured(raw json.RawMessage) bool {
	return len(raw) > 0 && (raw[0] == '{' || raw[0] == '[')
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
