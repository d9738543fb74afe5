package event

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Staged is an entry of staging: a claim check for bytes that are too large for
// an event. An upload's entry is named after its job, or is an UploadEntry.
type Staged struct {
	Entry  string
	Chunks int
	Size   int64 // bytes
}

// Staged is where the recording lies.
func (e Received) Staged() Staged {
	return Staged{Entry: cmp.Or(e.Entry, e.JobID), Chunks: e.Chunks, Size: e.Size}
}

// ErrStagingGone says that an entry, or a part of it, is not in staging.
var ErrStagingGone = errors.New("the entry is not in staging")

// ResultEntry names an entry for a large result. Every call gives another name:
// callbacks that repeat a result at the same time must not mix their chunks.
func ResultEntry(job string) string { return job + "-result-" + uuid.NewString() }

// uploadMark stands between the job and the rest of an UploadEntry's name.
const uploadMark = "-upload-"

// UploadEntry names an entry for the bytes of a job whose first upload is given
// up for dead. Every call gives another name: the first may yet be alive, and
// neither may write into, or clear away, what the other has staged.
func UploadEntry(job string) (string, error) {
	id, err := uuid.NewV7() // which tells when, since the job may be old
	if err != nil {
		return "", fmt.Errorf("name an entry of job %s: %w", job, err)
	}
	return job + uploadMark + id.String(), nil
}

// IsUploadEntry tells an upload's entry from a result's.
func IsUploadEntry(entry string) bool {
	return len(entry) == 36 || len(entry) > 36 && strings.HasPrefix(entry[36:], uploadMark)
}

// ParseEntry tells which job an entry belongs to and when the job, or an
// UploadEntry itself, began; false for a name that Sori did not give.
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
