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
	Err       error  // cause for the log
}

// Error implements error.
func (r *RejectedError) Error() string { return r.Code + ": " + r.Reason + ": " + r.Err.Error() }

// Unwrap returns the cause.
func (r *RejectedError) Unwrap() error { return r.Err }

// ParseRejection parses the members code and retryable of the body of a rejection, which is a
// problem document or any other JSON object. If the body has no retryable, the code determines it;
// an unknown code is not retryable.
func ParseRejection(answer []byte) (code string, retryable bool) {
	var b failureFields
	if json.Unmarshal(answer, &b) != nil {
		b = failureFields{}
	}
	return b.parse(event.CodeAnalysisRejected)
}

// failureFields are the optional members of a failure that the server reports.
type failureFields struct {
	Code      json.RawMessage `json:"code"`
	Retryable json.RawMessage `json:"retryable"`
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
