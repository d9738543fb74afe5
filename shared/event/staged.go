package event

import (
	"errors"
	"time"

	"github.com/google/uuid"
)

// Staged is an entry of staging: a claim check for bytes that are too large for
// an event. An upload's entry is named after its job.
type Staged struct {
	Entry  string
	Chunks int
	Size   int64 // bytes
}

// ErrStagingGone says that an entry, or a part of it, is not in staging.
var ErrStagingGone = errors.New("the entry is not in staging")

// ResultEntry names an entry for a large result. Every call gives another name:
// callbacks that repeat a result at the same time must not mix their chunks.
func ResultEntry(job string) string { return job + "-result-" + uuid.NewString() }

// EntryJob tells which job an entry belongs to and when that job began; false
// for a name that Sori did not give.
func EntryJob(entry string) (job string, began time.Time, ok bool) {
	if len(entry) < 36 {
		return "", time.Time{}, false
	}
	id, err := uuid.Parse(entry[:36])
	if err != nil || id.Version() != 7 {
		return "", time.Time{}, false
	}
	return entry[:36], time.Unix(id.Time().UnixTime()), true
}
