package query

// Usage is the usage of an owner's jobs.
type Usage struct {
	Jobs        int64 // number of jobs that are not erased
	StagedBytes int64 // bytes of recordings that are not in the bucket yet
	StoredBytes int64 // bytes of recordings in the bucket
	LogBytes    int64 // bytes of the events in the stream of logs

	Recorded []string // the given jobs that are recorded, so that the sums include them
}
