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

func beingCompleted() error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "contended", RetryAfter: time.Second,
		Detail: "Another request is completing this upload. Please try again.",
	}
}
