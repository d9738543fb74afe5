package store

import (
	"sync"

	"sori.internal/services/tracker/internal/job"
)

// maxRecent is the number of records that are kept, of about a kilobyte each.
const maxRecent = 4096

// recent keeps records of jobs that have not ended, as this process has written them last. An update
// on the condition that no other transaction has written the row since needs neither a lock nor a
// read before it. It is safe for concurrent use.
type recent struct {
	mu      sync.Mutex
	records map[string]writtenRecord
}

// writtenRecord is a record and the transaction that has written its row.
type writtenRecord struct {
	job.Record

	written string
}

// take returns the record of a job, and removes it: the caller is about to change the row.
func (r *recent) take(id string) (writtenRecord, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.records[id]
	delete(r.records, id)
	return known, ok
}

// add keeps records that a transaction has written. If there are too many, it removes any other.
func (r *recent) add(records []job.Record, written string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range records {
		if record.Status.Ended() {
			continue
		}
		for id := range r.records {
			if len(r.records) < maxRecent {
				break
			}
			delete(r.records, id)
		}
		record.Result = "" // a record that is read for merging has none
		r.records[record.JobID] = writtenRecord{record, written}
	}
}
