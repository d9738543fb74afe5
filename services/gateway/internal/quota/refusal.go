package quota

import (
	"time"

	"sori.internal/shared/fault"
)

// Limits are the budgets of each owner in bytes. A field of 0 means no limit.
type Limits struct {
	Staged int64 // recordings that are not in the bucket yet
	Stored int64 // recordings in the bucket
	Log    int64 // events in the stream of logs
}

// The Retry-After of a refusal. Stored bytes are not released by waiting.
const (
	stagedRetryAfter = 5 * time.Second
	logRetryAfter    = time.Hour
)

func stagedExceeded(limit, used int64) error {
	return exceeded("staged_bytes", limit, used, stagedRetryAfter,
		"Your uploads that are not stored yet use all the space that you may use for them. Please try again later.")
}

func storedExceeded(limit, used int64) error {
	return exceeded("stored_bytes", limit, used, 0,
		"Your recordings use all the space that you may use. Delete jobs that you no longer need, and try again.")
}

func logExceeded(limit, used int64) error {
	return exceeded("log_bytes", limit, used, logRetryAfter,
		"The logs of your jobs use all the space that you may use for them. Delete jobs that you no longer need, or try again later.")
}

// exceeded returns the failure of an upload that would exceed a budget.
func exceeded(budget string, limit, used int64, retryAfter time.Duration, detail string) error {
	return &fault.Error{
		Kind: fault.RateLimited, Code: "quota-exceeded", RetryAfter: retryAfter, Detail: detail,
		Extra: map[string]any{"budget": budget, "limit_bytes": limit, "used_bytes": used},
	}
}
