package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Failures that more than one package reports. Their kinds, codes and sentences are defined only
// here.

// ValidationFailed returns the failure of an input that breaks rules.
func ValidationFailed(violations ...Violation) error {
	return &Error{
		Kind: Invalid, Code: "validation-failed", Detail: "The request breaks one or more rules.", Violations: violations,
	}
}

// MalformedRequest returns the failure of a request that cannot be parsed.
func MalformedRequest(detail string, cause error) error {
	return Wrap(Malformed, "malformed-request", detail, cause)
}

// WrongMethod returns the failure of a request whose path does not support its method. The response
// must have the header Allow.
func WrongMethod() error {
	return New(MethodNotAllowed, "method-not-allowed", "This path does not take this method. The Allow header names those that it takes.")
}

// MalformedJSON returns the failure of a text that is not the expected JSON.
func MalformedJSON(detail string, cause error) error {
	return Wrap(Malformed, "malformed-json", detail, cause)
}

// UndecodedBody returns the failure of a body that json.Unmarshal rejects with err: the body is not
// JSON, or a member has an unexpected type.
func UndecodedBody(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return ValidationFailed(Violation{Pointer: strings.ReplaceAll(t.Field, ".", "/"), Detail: "must have another type than " + t.Value})
	}
	return MalformedJSON("The body is not JSON in UTF-8.", err)
}

// BodyTruncated returns the failure of a body whose end did not arrive.
func BodyTruncated(cause error) error {
	return Wrap(Malformed, "body-truncated", "The body could not be read to its end.", cause)
}

// ExceedsLimit returns the failure of an input that is larger than a limit in bytes. The parameter
// what is the name of the input in a sentence: "body", "file", "object".
func ExceedsLimit(what string, limit int64, cause error) error {
	return &Error{
		Kind: TooLarge, Code: "too-large", Extra: map[string]any{"max_bytes": limit},
		Detail: fmt.Sprintf("The %s is larger than %d bytes.", what, limit), Err: cause,
	}
}

// JobNotFound returns the failure of a request for a job that does not exist.
func JobNotFound() error { return New(NotFound, "job-not-found", "There is no such job.") }

// InsufficientScope returns the failure of a request whose credentials lack a scope.
func InsufficientScope(scope string) error {
	return &Error{
		Kind: Forbidden, Code: "insufficient-scope", Extra: map[string]any{"scope": scope},
		Detail: "These credentials lack the scope " + scope + ".",
	}
}
