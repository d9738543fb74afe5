package upload

import "sori.internal/shared/event"

// This file has the rules of the package. Each rule is a pure function from a job's log to a
// decision. The other files do the I/O.

// storedOrEnded reports whether nothing must be copied, since the recording is stored or the job
// has ended.
func storedOrEnded(log event.Log) bool {
	_, stored := event.Last[event.Stored](log)
	_, ended := log.Terminal()
	return stored || ended
}

// storeRecording returns the event to append after the object was put. It returns nil if the
// recording is stored already or the job has ended.
func storeRecording(log event.Log, stored event.Stored) event.Event {
	if storedOrEnded(log) {
		return nil
	}
	return stored
}

// failUpload returns the event to append if a recording cannot be stored. It returns nil if the
// recording is stored, the job has ended, or its log has expired.
func failUpload(log event.Log, failed event.Failed) event.Event {
	if len(log) == 0 || storedOrEnded(log) {
		return nil
	}
	failed.Attempt = log.Attempt() // not 0 if a fetch fails after a retry
	return failed
}

// keepsObject reports whether a job needs its object: the event `stored` was appended, and neither
// the job is erased nor its recording has expired.
func keepsObject(log event.Log) bool {
	_, stored := event.Last[event.Stored](log)
	return stored && !log.Erased() && !log.AudioExpired()
}

// uploadEntry returns the name of the staging entry of a job's upload. If the log has no received
// event, which contains the name, it returns the id of the job, which is the usual name.
func uploadEntry(log event.Log) string {
	if r, ok := event.Last[event.Received](log); ok {
		return r.Staged().Entry
	}
	return log[0].Event.Job()
}

// needsEntry reports whether a job still needs a staging entry:
//
//  1. The entry of the upload in received is needed until the recording is stored or the job has
//     ended.
//  2. The entry of a result is needed while the job is active, and if the job is completed with
//     this result. Only the tracker knows when it has read the result, and removes the entry.
//  3. An erased job needs no entry.
func needsEntry(log event.Log, entry string) bool {
	if len(log) == 0 || log.Erased() {
		return false
	}
	if event.IsUploadEntry(entry) {
		received, ok := event.Last[event.Received](log)
		return !storedOrEnded(log) && (!ok || received.Staged().Entry == entry)
	}
	if completed, ok := event.Last[event.Completed](log); ok {
		return completed.ResultEntry == entry
	}
	_, ended := log.Terminal()
	return !ended
}
