package query

// Usage is what the jobs of an owner use.
type Usage struct {
	Jobs        int64 // that are not erased
	StagedBytes int64 // of recordings that are not in the bucket yet
	StoredBytes int64 // of recordings in the bucket
	LogBytes    int64 // of the events in the stream of logs

	Recorded []string // those of the given jobs that are recorded, and so in the sums
}
