// Package fault defines a closed set of kinds of failures. Every failure has one of them.
//
// The kind determines two things, each in one place: the HTTP status of the response to a client
// (package problem), and whether a message is acked, redelivered or dead-lettered (package bus). An
// error without a kind is Internal: a client gets a fixed sentence, and the cause is only logged.
package fault

import (
	"context"
	"errors"
	"time"
)

// Kind is the category of a failure.
type Kind uint8

// The kinds. The zero value is Internal, so that an unexpected failure never passes for an expected
// one.
const (
	Internal           Kind = iota // a defect or an unexpected failure of the service
	Invalid                        // the input breaks a rule
	Unauthenticated                // the client is not authenticated
	Forbidden                      // the client may not do this
	NotFound                       // the requested thing does not exist
	Gone                           // the requested thing existed and was removed for good
	Conflict                       // the state does not allow the request
	TooLarge                       // the input is larger than the limit
	Unsupported                    // the input is of a kind that is not supported
	Exhausted                      // a limit of the service is reached; a later request may succeed
	Unavailable                    // a dependency is unavailable; a later request may succeed
	Malformed                      // the input cannot be parsed, so no rule can be checked
	MethodNotAllowed               // the requested thing exists but does not support the method
	PreconditionFailed             // the client names a version that is not the current one
	RequestTimeout                 // the client sent its request too slowly
	HeaderTooLarge                 // the header of the request is larger than the limit
	RateLimited                    // the client exceeds a limit of its own; a later request may succeed
	Misdirected                    // the request is for a host that is not served here
	ChecksumMismatch               // the bytes that arrived are not those that the client announced

	afterLast // not a kind: the number of kinds
)

// Kinds lists every kind, for tests that check each of them.
func Kinds() []Kind {
	all := make([]Kind, afterLast)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// String returns the kind's name in snake case, as in logs and metrics.
func (k Kind) String() string {
	names := [afterLast]string{
		Internal: "internal", Invalid: "invalid", Unauthenticated: "unauthenticated", Forbidden: "forbidden",
		NotFound: "not_found", Gone: "gone", Conflict: "conflict", TooLarge: "too_large", Unsupported: "unsupported",
		Exhausted: "exhausted", Unavailable: "unavailable", Malformed: "malformed", MethodNotAllowed: "method_not_allowed",
		PreconditionFailed: "precondition_failed", RequestTimeout: "request_timeout", HeaderTooLarge: "header_too_large",
		RateLimited: "rate_limited", Misdirected: "misdirected", ChecksumMismatch: "checksum_mismatch",
	}
	if k >= afterLast {
		return names[Internal]
	}
	return names[k]
}

// Retryable reports whether the same request may succeed later without a change.
func (k Kind) Retryable() bool {
	return k == Exhausted || k == Unavailable || k == RateLimited || k == Internal
}

// Violation describes one rule that an input breaks.
type Violation struct {
	Pointer string `json:"pointer"` // RFC 6901 pointer into the body, or the name of a parameter
	Detail  string `json:"detail"`  // the broken rule, for the client
}

// Error is a failure with a kind. Clients see Code and Detail; Err is the cause and is only logged.
type Error struct {
	Kind       Kind
	Code       string         // stable, kebab-case
	Detail     string         // a sentence for the client
	RetryAfter time.Duration  // the delay before the next try; 0 if unknown
	Violations []Violation    // every broken rule, for a failure of kind Invalid
	Extra      map[string]any // further members of the problem document
	Logged     bool           // the cause is logged already: package bus then logs the redelivery at level debug
	Permanent  bool           // no retry succeeds until an operator has changed something
	Err        error
}

// Error returns the code, the detail and the cause, for the log.
func (e *Error) Error() string {
	text := e.Code
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns a failure without a cause.
func New(kind Kind, code, detail string) *Error {
	return &Error{Kind: kind, Code: code, Detail: detail}
}

// Wrap returns a failure with a cause. Clients see the detail and not the cause.
func Wrap(kind Kind, code, detail string, cause error) *Error {
	return &Error{Kind: kind, Code: code, Detail: detail, Err: cause}
}

// Unreachable returns the failure of a dependency that could not be reached or did not respond, of
// the kind Unavailable. Clients see the name of the dependency: "database", "storage", "message
// bus".
func Unreachable(dependency string, cause error) *Error {
	return &Error{
		Kind: Unavailable, Code: "unavailable", RetryAfter: 2 * time.Second,
		Detail: "The " + dependency + " cannot be reached right now. Please try again.", Err: cause,
	}
}

// Misconfigured returns the failure of a dependency that rejects the service until an operator
// corrects a setting, a permission or the dependency itself. It is Unavailable and Permanent.
func Misconfigured(dependency string, cause error) *Error {
	return &Error{
		Kind: Unavailable, Code: "unavailable", RetryAfter: 10 * time.Second, Permanent: true,
		Detail: "The " + dependency + " refuses the service. Its settings have to be corrected.", Err: cause,
	}
}

// AtCapacity returns the failure of a dependency that is full, of the kind Exhausted. The name of
// the dependency is part of the code: for "bus" the code is bus-full.
func AtCapacity(dependency string, cause error) *Error {
	return &Error{
		Kind: Exhausted, Code: dependency + "-full", RetryAfter: 5 * time.Second,
		Detail: "The service is full right now. Please try again.", Err: cause,
	}
}

// As returns the failure that err wraps, or, if there is none, a failure of kind Internal that
// wraps err. It returns nil for nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*Error](err); ok {
		return f
	}
	return &Error{Kind: Internal, Code: "internal", Detail: "Something went wrong on our side.", Err: err}
}

// KindOf returns the kind of err, or Internal if it has none.
func KindOf(err error) Kind { return As(err).Kind }

// Is reports whether err is of the given kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Stopped reports whether err only means that ctx has ended, by a shutdown or because the client
// left. That is no failure.
func Stopped(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}
