package analysis

import (
	"encoding/json"
	"strconv"
	"strings"

	"sori.internal/shared/event"
)

// RejectedError means that the server rejected a request, and that the request is not sent again.
type RejectedError struct {
	Code      string // the server's code; event.CodeAnalysisRejected if it sent none
	Reason    string // the server's text, sanitized
	Retryable bool   // the server may accept the request if the job is retried
	Conflict  bool   // the status is 409, and the server states neither a code nor that a retry may succeed
	Repeated  bool   // the server may have received the request before, by an earlier connection
	Err       error  // cause for the log
}

// Error implements error.
func (r *RejectedError) Error() string { return r.Code + ": " + r.Reason + ": " + r.Err.Error() }

// Unwrap returns the cause.
func (r *RejectedError) Unwrap() error { return r.Err }

// ParseRejection parses the members code and retryable of the body of a rejection, which is a
// problem document or any other JSON object. The members may also be in the object error or detail.
// If the body has no retryable, the code determines it; an unknown code is not retryable.
func ParseRejection(answer []byte) (code string, retryable bool) {
	var b struct {
		failureFields

		Error  json.RawMessage `json:"error"`
		Detail json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(answer, &b) != nil {
		return failureFields{}.parse(event.CodeAnalysisRejected)
	}
	return b.orIn(b.Error, b.Detail).parse(event.CodeAnalysisRejected)
}

// failureFields are the optional members of a failure that the server reports.
type failureFields struct {
	Code      json.RawMessage `json:"code"`
	Retryable json.RawMessage `json:"retryable"`
}

// orIn returns f with the members that it lacks, from the first of the given members that is an object.
// Many servers put all that they say about a failure into the object error, as Sori does in its own
// answers, and FastAPI puts it into detail.
func (f failureFields) orIn(members ...json.RawMessage) failureFields {
	for _, raw := range members {
		var inner failureFields
		if !isObject(raw) || json.Unmarshal(raw, &inner) != nil {
			continue
		}
		if !present(f.Code) {
			f.Code = inner.Code
		}
		if !present(f.Retryable) {
			f.Retryable = inner.Retryable
		}
		break
	}
	return f
}

// parse returns the code of a failure, and whether a retry of the job may succeed. It returns
// defaultCode if the server sent no valid code, or a code that is reserved for Sori. If the server
// sent no valid retryable, the code determines it. A code that Sori does not know is retryable in a
// callback, and not in a rejection.
func (f failureFields) parse(defaultCode string) (code string, retryable bool) {
	if json.Unmarshal(f.Code, &code) != nil || !event.ServerFailureCode(code) {
		code = defaultCode
	}
	if value, ok := parseBool(f.Retryable); ok {
		return code, value
	}
	if known, ok := event.FailureCodeOf(code); ok {
		return code, known.Retryable
	}
	return code, defaultCode == event.CodeAnalysisFailed
}

// parseBool parses a boolean, which some servers send as a string or a number.
func parseBool(raw json.RawMessage) (value, ok bool) {
	value, err := strconv.ParseBool(strings.ToLower(strings.Trim(string(raw), `"`)))
	return value, err == nil
}

// Reason returns the text of a member that states why an analysis or a request failed. A member that
// is a string is returned as text. Of an object, the text of message, detail, reason or error is
// returned. Any other value is returned as JSON. The text is empty if the member is absent or null.
func Reason(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil { // null leaves text empty
		return text
	}
	var members map[string]json.RawMessage
	if isObject(raw) && json.Unmarshal(raw, &members) == nil {
		for _, name := range []string{"message", "detail", "reason", "error"} {
			if json.Unmarshal(members[name], &text) == nil && text != "" {
				return text
			}
		}
	}
	return string(raw)
}

// isObject reports whether raw is a JSON object.
func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }
