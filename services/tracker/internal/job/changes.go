package job

// Changes is what merging a batch of events has changed.
type Changes struct {
	Grown []Snapshot // the records whose version has grown
	Ended []Snapshot // the records of jobs that have ended (EndedSince)
}

// EndedSince reports whether the job has ended since an earlier version of the record, so that each
// end is counted once, in whatever order and however often its event is merged. A job that is
// retried ends again; if both ends are merged in one batch, they are one change. The erasure of a
// job that has ended is no end, and neither is the replay of an event in place of its placeholder
// (CodeUnprojectable).
func (r *Record) EndedSince(before *Record) bool {
	if !r.Status.Ended() || !before.Status.Ended() {
		return r.Status.Ended()
	}
	return r.Status != Erased && r.StateSeq > before.StateSeq // a second end, merged together with the retry or before it
}
