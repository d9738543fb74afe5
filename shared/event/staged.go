package event

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Staged is an entry of staging, which holds bytes that are too large for an event. The entry of an
// upload has the name of its job, or one from UploadEntry.
type Staged struct {
	Entry  string
	Chunks int
	Size   int64 // bytes
}

// Staged is the entry that holds the recording.
func (e Received) Staged() Staged {
	return Staged{Entry: cmp.Or(e.Entry, e.JobID), Chunks: e.Chunks, Size: e.Size}
}

// ErrStagingGone says that an entry, or a chunk of it, is not in staging.
var ErrStagingGone = errors.New("the entry is not in staging")

// ResultEntry returns a name for the entry of a large result. Every call returns another name, so that
// callbacks that report a result at the same time do not mix their chunks.
func ResultEntry(job string) string { return job + "-result-" + uuid.NewString() }

// uploadMark separates the job from the rest of a name from UploadEntry.
const uploadMark = "-upload-"

// UploadEntry returns a name for the entry of a job whose first upload seems to be dead. Every call
// returns another name: the first upload may still be running, and neither may write to or delete the
// entry of the other.
func UploadEntry(job string) (string, error) {
	id, err := uuid.NewV7() // its time is that of this upload: the job may be old
	if err != nil {
		return "", fmt.Errorf("name an entry of job %s: %w", job, err)
	}
	return job + uploadMark + id.String(), nil
}

// IsUploadEntry reports whether an entry is that of an upload, and not of a result.
func IsUploadEntry(entry string) bool {
	return len(entry) == 36 || len(entry) > 36 && strings.HasPrefix(entry[36:], uploadMark)
}

// ParseEntry returns the job of an entry, and when the job, or the upload of a name from UploadEntry,
// began. It returns false for a name that Sori did not make.
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
