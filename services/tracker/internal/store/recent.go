package store

import (
	"sync"

	"sori.internal/services/tracker/internal/job"
)

// maxRecent is the largest number of records in recent. A record has about 1 kB.
const maxRecent = 4096

// recent has records of jobs that have not ended, as this process wrote them last. Such a record
// can be updated without reading or locking its row, on the condition that no other transaction has
// written the row since. recent is safe for concurrent use.
type recent struct {
	mu      sync.Mutex
	records map[string]writtenRecord
}

// writtenRecord is a record, and the id of the transaction that wrote its row (xmin).
type writtenRecord struct {
	job.Record

	written string
}

// take removes the record of a job and returns it. The caller is about to change the row.
func (r *recent) take(id string) (writtenRecord, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.records[id]
	delete(r.records, id)
	return known, ok
}

// add adds records that a transaction has written. It removes arbitrary other records if there
// would be more than maxRecent.
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
		record.Result = "" // merging does not need the result
		r.records[record.JobID] = writtenRecord{record, written}
	}
}
