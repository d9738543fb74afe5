package direct

import (
	"fmt"
	"time"

	"sori.internal/shared/fault"
)

// NotFound returns the error for a request for an upload that does not exist.
func NotFound() *fault.Error {
	return fault.New(fault.NotFound, "upload-not-found", "There is no such upload: it was never begun, was aborted, or has expired.")
}

func tooManyOpen(limit int) error {
	return &fault.Error{
		Kind: fault.RateLimited, Code: "too-many-uploads", Extra: map[string]any{"limit": limit},
		Detail: fmt.Sprintf("%d uploads are begun and not completed. Please complete or abort some of them.", limit),
	}
}

// spentRetryAfter is the Retry-After of an owner who has used too many forms. The records expire one by
// one.
const spentRetryAfter = time.Hour

func tooManySpent() error {
	return &fault.Error{
		Kind: fault.RateLimited, Code: "too-many-uploads", RetryAfter: spentRetryAfter, Extra: map[string]any{"limit": maxSpent},
		Detail: "Too many forms and partial uploads were used lately. Please send the recording in another way, or try again later.",
	}
}

func beingCompleted() error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "contended", RetryAfter: time.Second,
		Detail: "Another request is completing this upload. Please try again.",
	}
}
