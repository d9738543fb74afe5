package fault

import "fmt"

// The failures that more than one package reports. Each has its kind, its code and its sentence
// here alone.

// ValidationFailed is the failure of an input that breaks rules.
func ValidationFailed(violations ...Violation) error {
	return &Error{
		Kind: Invalid, Code: "validation-failed", Detail: "The request breaks one or more rules.", Violations: violations,
	}
}

// MalformedRequest is the failure of a request that cannot be parsed.
func MalformedRequest(detail string, cause error) error {
	return Wrap(Malformed, "malformed-request", detail, cause)
}

// MalformedJSON is the failure of a text that is not the JSON that is expected.
func MalformedJSON(detail string, cause error) error {
	return Wrap(Malformed, "malformed-json", detail, cause)
}

// BodyTruncated is the failure of a body whose end did not arrive.
func BodyTruncated(cause error) error {
	return Wrap(Malformed, "body-truncated", "The body could not be read to its end.", cause)
}

// ExceedsLimit is the failure of an input that is larger than a limit, in bytes. what names the
// input in a sentence: "body", "file", "object".
func ExceedsLimit(what string, limit int64, cause error) error {
	return &Error{
		Kind: TooLarge, Code: "too-large", Extra: map[string]any{"max_bytes": limit},
		Detail: fmt.Sprintf("The %s is larger than %d bytes.", what, limit), Err: cause,
	}
}

// JobNotFound is the failure to find a job.
func JobNotFound() error { return New(NotFound, "job-not-found", "There is no such job.") }
