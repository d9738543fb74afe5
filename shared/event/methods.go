package event

import (
	"fmt"
	"strconv"
)

// Name implements Event.
func (e Received) Name() Name { return NameReceived }

// Job implements Event.
func (e Received) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Received) Occurrence() string { return "" }

// Name implements Event.
func (e Stored) Name() Name { return NameStored }

// Job implements Event.
func (e Stored) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Stored) Occurrence() string { return "" }

// Name implements Event.
func (e Attempted) Name() Name { return NameAttempted }

// Job implements Event.
func (e Attempted) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Attempted) Occurrence() string { return strconv.Itoa(e.Attempt) }

// Name implements Event.
func (e Dispatched) Name() Name { return NameDispatched }

// Job implements Event.
func (e Dispatched) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Dispatched) Occurrence() string { return strconv.Itoa(e.Attempt) }

// Name implements Event.
func (e Lapsed) Name() Name { return NameLapsed }

// Job implements Event.
func (e Lapsed) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Lapsed) Occurrence() string { return strconv.Itoa(e.Attempt) }

// Name implements Event.
func (e Completed) Name() Name { return NameCompleted }

// Job implements Event.
func (e Completed) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Completed) Occurrence() string { return strconv.Itoa(e.Attempt) }

// Name implements Event.
func (e Failed) Name() Name { return NameFailed }

// Job implements Event.
func (e Failed) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Failed) Occurrence() string { return strconv.Itoa(e.Attempt) }

// Name implements Event.
func (e Canceled) Name() Name { return NameCanceled }

// Job implements Event.
func (e Canceled) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Canceled) Occurrence() string { return "" }

// Name implements Event.
func (e Retried) Name() Name { return NameRetried }

// Job implements Event.
func (e Retried) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Retried) Occurrence() string { return strconv.Itoa(e.Attempt) }

// Name implements Event.
func (e Expired) Name() Name { return NameExpired }

// Job implements Event.
func (e Expired) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Expired) Occurrence() string { return "" }

// Name implements Event.
func (e Erased) Name() Name { return NameErased }

// Job implements Event.
func (e Erased) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Erased) Occurrence() string { return "" }

// Name implements Event.
func (e Fetching) Name() Name { return NameFetching }

// Job implements Event.
func (e Fetching) Job() string { return e.JobID }

// Occurrence implements Event. If a fetch begins again, it may publish events with the same
// numbers. The stream ignores them as duplicates, which is harmless.
func (e Fetching) Occurrence() string { return fmt.Sprintf("%d.%d.%d", e.Attempt, e.Try, e.Bytes) }

// Name implements Event.
func (e Uploading) Name() Name { return NameUploading }

// Job implements Event.
func (e Uploading) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Uploading) Occurrence() string { return strconv.FormatInt(e.Bytes, 10) }

// Name implements Event.
func (e Progressed) Name() Name { return NameProgressed }

// Job implements Event.
func (e Progressed) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Progressed) Occurrence() string { return fmt.Sprintf("%d.%d", e.Attempt, e.Percent) }

// Name implements Event.
func (e Waiting) Name() Name { return NameWaiting }

// Job implements Event.
func (e Waiting) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Waiting) Occurrence() string {
	at := e.Until
	if at.IsZero() {
		at = e.Since
	}
	return fmt.Sprintf("%d.%d", e.Attempt, at.Unix())
}

// Name implements Event.
func (e Refused) Name() Name { return NameRefused }

// Job implements Event.
func (e Refused) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Refused) Occurrence() string { return fmt.Sprintf("%d.%d", e.Attempt, e.At.Unix()) }

// Name implements Event.
func (e Discarded) Name() Name { return NameDiscarded }

// Job implements Event.
func (e Discarded) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Discarded) Occurrence() string { return strconv.Itoa(e.Attempt) + "." + e.Status }

// Name implements Event.
func (e Granted) Name() Name { return NameGranted }

// Job implements Event.
func (e Granted) Job() string { return e.JobID }

// Occurrence implements Event.
func (e Granted) Occurrence() string {
	if e.ResultKey != "" { // with ResultKey, Entry is a sequence in another stream, and the sequences of two streams may be equal
		return fmt.Sprintf("%d.%d.shared", e.Attempt, e.Entry)
	}
	return fmt.Sprintf("%d.%d", e.Attempt, e.Entry)
}
