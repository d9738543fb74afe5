package event

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Staged is an entry of staging, which stores bytes that are too large for an event. The entry of
// an upload has the id of its job as its name, or a name from UploadEntry.
type Staged struct {
	Entry  string
	Chunks int
	Size   int64 // size in bytes
}

// Staged returns the entry that contains the recording.
func (e Received) Staged() Staged {
	return Staged{Entry: cmp.Or(e.Entry, e.JobID), Chunks: e.Chunks, Size: e.Size}
}

// ErrStagingGone means that an entry, or a chunk of it, is not in staging.
var ErrStagingGone = errors.New("the entry is not in staging")

// ResultEntry returns a unique name for the entry of a large result, so that two concurrent
// callbacks do not write chunks of one entry.
func ResultEntry(job string) string { return job + "-result-" + uuid.NewString() }

// uploadMark separates the job from the rest of a name from UploadEntry.
const uploadMark = "-upload-"

// UploadEntry returns a unique name for the entry of a second upload of a job, whose first upload
// seems to have died. The first upload may still be running, and neither upload may write to or
// delete the entry of the other.
func UploadEntry(job string) (string, error) {
	id, err := uuid.NewV7() // the timestamp of the UUID is the time of this upload; the job may be older
	if err != nil {
		return "", fmt.Errorf("name an entry of job %s: %w", job, err)
	}
	return job + uploadMark + id.String(), nil
}

// IsUploadEntry reports whether an entry contains an upload, and not a result.
func IsUploadEntry(entry string) bool {
	return len(entry) == 36 || len(entry) > 36 && strings.HasPrefix(entry[36:], uploadMark)
}

// ParseEntry returns the job of an entry, and when the job began. For a name from UploadEntry,
// began is when that upload began. ParseEntry returns false for a name that contains no job id.
func ParseEntry(entry string) (job string, began time.Time, ok bool) {
	if len(entry) < 36 {
		return "", time.Time{}, false
	}
	id, err := uuid.Parse(entry[:36])
	if err != nil || id.Version() != 7 {
		return "", time.Time{}, false
	}
	if own, err := uuid.Parse(entry[len(entry)-36:]); err == nil && own.Version() == 7 {
		return entry[:36], time.Unix(own.Time().UnixTime()), true
	}
	return entry[:36], time.Unix(id.Time().UnixTime()), true
}
