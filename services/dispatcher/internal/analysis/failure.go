package analysis

import (
	"encoding/json"
	"strconv"
	"strings"

	"sori.internal/shared/event"
)

// Rejected is the server's final word on a request that it does not accept.
type Rejected struct {
	Code      string // why, by the server's own word; event.CodeAnalysisRejected where it names none
	Reason    string // in the server's own words, fit to be kept
	Retryable bool   // the server says that the same request may be accepted later
	Err       error  // for the log
}

// Error implements error.
func (r *Rejected) Error() string { return r.Code + ": " + r.Reason + ": " + r.Err.Error() }

// Unwrap returns the cause.
func (r *Rejected) Unwrap() error { return r.Err }

// Rejection reads a rejection out of the body of the server's answer: a problem
// document, or any JSON object with code and retryable. A rejection is final unless
// the body says otherwise.
func Rejection(answer []byte) (code string, retryable bool) {
	var b failureFields
	if json.Unmarshal(answer, &b) != nil {
		b = failureFields{}
	}
	return b.read(event.CodeAnalysisRejected)
}

// failureFields are the members with which the server says more of a failure than
// its reason.
type failureFields struct {
	Code      json.RawMessage `json:"code"`
	Retryable json.RawMessage `json:"retryable"`
}

// read returns the code, or the given one where there is none that may be used, and
// whether the same job may succeed later. Where the server does not say that itself,
// the code tells; a code of its own is taken for one that may pass, unless the server
// refused the request with it.
func (f failureFields) read(otherwise string) (code string, retryable bool) {
	if json.Unmarshal(f.Code, &code) != nil || !event.ServerFailureCode(code) {
		code = otherwise
	}
	if said, ok := truth(f.Retryable); ok {
		return code, said
	}
	if known, ok := event.FailureCodeOf(code); ok {
		return code, known.Retryable
	}
	return code, otherwise == event.CodeAnalysisFailed
}

// truth reads a boolean, which some servers send as a text or a number.
func truth(raw json.RawMessage) (value, ok bool) {
	value, err := strconv.ParseBool(strings.ToLower(strings.Trim(string(raw), `"`)))
	return value, err == nil
}
