// Package fault gives every failure one of a closed set of kinds.
//
// A kind decides two things, each in one place: the HTTP status that a client gets (package
// problem), and whether a message is acked, redelivered or dead-lettered (package bus). An error
// without a kind is Internal: a client gets a fixed sentence, and the cause is only logged.
package fault

import (
	"context"
	"errors"
	"time"
)

// Kind is the category of a failure.
type Kind uint8

// The kinds. The zero value is Internal, so that a failure nobody thought of is
// never taken for something milder.
const (
	Internal           Kind = iota // a defect or a surprise of ours
	Invalid                        // the input breaks a rule
	Unauthenticated                // who asks is not proven
	Forbidden                      // who asks may not
	NotFound                       // what is asked for does not exist
	Gone                           // what is asked for was there, and does not come back
	Conflict                       // the state does not allow it
	TooLarge                       // the input is larger than the limit
	Unsupported                    // the input is of a kind not handled
	Exhausted                      // a limit of ours is reached; later may work
	Unavailable                    // a dependency is away; later may work
	Malformed                      // the input cannot be parsed, so no rule can be checked
	MethodNotAllowed               // what is asked for exists and does not support the method
	PreconditionFailed             // it is another version than the one that the client names
	RequestTimeout                 // the client sent its request too slowly
	HeaderTooLarge                 // the header of the request is larger than the limit

	afterLast // not a kind: the number of kinds
)

// Kinds lists every kind, for tables and for the tests that walk them.
func Kinds() []Kind {
	all := make([]Kind, afterLast)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// String returns the kind's name in snake case, as logs and metrics spell it.
func (k Kind) String() string {
	names := [afterLast]string{
		Internal: "internal", Invalid: "invalid", Unauthenticated: "unauthenticated", Forbidden: "forbidden",
		NotFound: "not_found", Gone: "gone", Conflict: "conflict", TooLarge: "too_large", Unsupported: "unsupported",
		Exhausted: "exhausted", Unavailable: "unavailable", Malformed: "malformed", MethodNotAllowed: "method_not_allowed",
		PreconditionFailed: "precondition_failed", RequestTimeout: "request_timeout", HeaderTooLarge: "header_too_large",
	}
	if k >= afterLast {
		return names[Internal]
	}
	return names[k]
}

// Retryable says whether the same request may succeed later although its sender changes nothing.
func (k Kind) Retryable() bool {
	return k == Exhausted || k == Unavailable || k == Internal
}

// Violation names one rule that an input breaks.
type Violation struct {
	Pointer string `json:"pointer"` // RFC 6901 pointer into the body, or the name of a parameter
	Detail  string `json:"detail"`  // what is wrong, for the client
}

// Error is a failure with a kind. Code and Detail are written for the client;
// Err is the cause and is for the log alone.
type Error struct {
	Kind       Kind
	Code       string         // stable, kebab-case
	Detail     string         // a sentence for the client
	RetryAfter time.Duration  // how long to wait before the next try; 0 where unknown
	Violations []Violation    // for Invalid: every rule that is broken
	Extra      map[string]any // further members of the problem document
	Told       bool           // the log knows: what stops many at once is told once, by whoever noticed
	Lasting    bool           // waiting does not end it: an operator has to correct something first
	Err        error
}

// Error returns what happened for the log: the code, the detail and the cause.
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

// New returns a failure that needs no cause.
func New(kind Kind, code, detail string) *Error {
	return &Error{Kind: kind, Code: code, Detail: detail}
}

// Wrap returns a failure with its cause. The detail is for the client, the
// cause is not.
func Wrap(kind Kind, code, detail string, cause error) *Error {
	return &Error{Kind: kind, Code: code, Detail: detail, Err: cause}
}

// Away reports a dependency that could not be reached or did not answer, named
// for the client ("database", "storage", "message bus").
func Away(dependency string, cause error) *Error {
	return &Error{
		Kind: Unavailable, Code: "unavailable", RetryAfter: 2 * time.Second,
		Detail: "The " + dependency + " cannot be reached right now. Please try again.", Err: cause,
	}
}

// Refused reports a dependency that answers and refuses the service, until an
// operator has corrected a setting, a permission or the dependency itself.
func Refused(dependency string, cause error) *Error {
	return &Error{
		Kind: Unavailable, Code: "unavailable", RetryAfter: 10 * time.Second, Lasting: true,
		Detail: "The " + dependency + " refuses the service. Its settings have to be corrected.", Err: cause,
	}
}

// Full reports a dependency that has no room right now; "bus" gives the code
// bus-full.
func Full(dependency string, cause error) *Error {
	return &Error{
		Kind: Exhausted, Code: dependency + "-full", RetryAfter: 5 * time.Second,
		Detail: "The service is full right now. Please try again.", Err: cause,
	}
}

// As returns the failure inside err, or an Internal one that wraps it. A nil
// error gives nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*Error](err); ok {
		return f
	}
	return &Error{Kind: Internal, Code: "internal", Detail: "Something went wrong on our side.", Err: err}
}

// KindOf returns the kind of err; Internal where it carries none.
func KindOf(err error) Kind { return As(err).Kind }

// Is reports whether err is of the given kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Stopped reports whether err is nothing but the end of ctx: a shutdown or a
// client that left, which is no failure.
func Stopped(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}
