package query

// Usage has the sums over an owner's jobs.
type Usage struct {
	Jobs        int64 // number of jobs that are not erased
	StagedBytes int64 // bytes of recordings that are not stored in the bucket yet
	StoredBytes int64 // bytes of recordings in the bucket
	LogBytes    int64 // bytes of the jobs' events in the stream of logs

	Recorded []string // those of the requested jobs that are recorded, and included in the sums
}
