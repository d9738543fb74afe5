package command

import (
	"context"
	"fmt"
	"math"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/principal"
)

// Unprojectable ends the job of an event that cannot be recorded, so that no client waits for the
// job forever.
type Unprojectable struct {
	decider *Decider
	eraser  *Eraser
}

// NewUnprojectable makes an Unprojectable.
func NewUnprojectable(decider *Decider, eraser *Eraser) *Unprojectable {
	return &Unprojectable{decider: decider, eraser: eraser}
}

// Fail ends the job of an event that cannot be recorded:
//
//  1. If the job has not ended and its record would be wrong without the event, Fail appends the
//     event `failed` to the log.
//  2. If the event is terminal, or is `received` or `expired`, Fail records a placeholder at the
//     event's sequence. A replay of the event replaces the placeholder (job.Record.Merge).
//  3. Progress events, and events that only a newer release knows, do not end a job.
func (u *Unprojectable) Fail(ctx context.Context, id string, e job.Entry) error {
	failed := event.Failed{JobID: id, Code: event.CodeUnprojectable, Detail: "The job's record could not be kept."}
	log, _, err := u.decider.append(ctx, id, func(log event.Log) (event.Event, error) {
		if _, ended := log.Terminal(); ended || len(log) == 0 || !needed(nameOf(e, log)) {
			return nil, nil
		}
		failed.Attempt = min(log.Attempt(), math.MaxInt32) // a greater number would not fit into the record
		return failed, nil
	})
	if err != nil {
		return err
	}
	substitute := placeholder(log, e, nameOf(e, log), failed)
	if substitute == nil {
		return nil
	}
	entries := []job.Entry{{Event: substitute, Seq: e.Seq, Time: e.Time, Size: e.Size}}
	if err := u.decider.record(ctx, entries); err != nil {
		return fmt.Errorf("record a placeholder for event %d: %w", e.Seq, err)
	}
	if err := u.eraser.EraseOrphans(ctx, entries); err != nil {
		return fmt.Errorf("erase job %s of a deleted token: %w", id, err)
	}
	return nil
}

// placeholder returns the event to record in place of an event that cannot be recorded; nil if the
// record needs none.
func placeholder(log event.Log, e job.Entry, name event.Name, failed event.Failed) event.Event {
	if name == event.NameErased { // the body of the event is not needed
		return event.Erased{JobID: failed.JobID, Owner: storable(erased(failed.JobID, log).Owner)}
	}
	if name == event.NameExpired { // the body of the event is not needed
		return event.Expired{JobID: failed.JobID}
	}
	if received, ok := e.Event.(event.Received); ok { // clients must see the job, but the texts are omitted, since one may be invalid
		return event.Received{JobID: failed.JobID, TokenID: received.TokenID, Owner: storable(received.Owner)}
	}
	if name.Terminal() {
		return failed
	}
	return nil
}

// storable returns the owner if a record can contain it, and "" otherwise, so that only admins have
// access to the job.
func storable(owner string) string {
	if !principal.ValidOwner(owner) {
		return ""
	}
	return owner
}

// nameOf returns the type of an event. If the body of the event cannot be decoded, it finds the
// type in the log, which reads it from the message's subject. It returns "" if the log does not
// have the event, which is so for progress events.
func nameOf(e job.Entry, log event.Log) event.Name {
	if e.Event != nil {
		return e.Event.Name()
	}
	for _, r := range log {
		if r.Seq == e.Seq {
			return r.Event.Name()
		}
	}
	return ""
}

// needed reports whether a record without an event of this name would be wrong.
func needed(name event.Name) bool {
	switch name {
	case event.NameReceived, event.NameStored, event.NameAttempted, event.NameDispatched,
		event.NameCompleted, event.NameFailed, event.NameCanceled, event.NameRetried,
		event.NameLapsed, event.NameErased:
		return true
	default:
		return false
	}
}
