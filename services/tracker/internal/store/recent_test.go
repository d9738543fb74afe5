package store

import (
	"fmt"
	"testing"

	"sori.internal/services/tracker/internal/job"
)

// The jobs that are in progress may be far more than a process can remember.
func TestTheNumberOfRememberedRecordsIsLimited(t *testing.T) {
	t.Parallel()
	r := recent{records: map[string]writtenRecord{}}
	for i := range maxRecent + 10 {
		id := fmt.Sprint(i)
		r.add([]job.Record{job.New(id)}, "1")
		if len(r.records) > maxRecent {
			t.Fatalf("%d records", len(r.records))
		}
		if _, ok := r.records[id]; !ok {
			t.Fatalf("record %d is not remembered", i)
		}
	}
}
