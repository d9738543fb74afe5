package command

import (
	"context"
	"fmt"
	"math"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/principal"
)

// Unprojectable ends jobs with an event that cannot be recorded, so that no client waits for them
// forever.
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
//  1. If the job has not ended and its record needs the event, it appends failed to the log.
//  2. If the event is terminal, or is received, it records a placeholder at the event's sequence. A
//     replay of the event replaces the placeholder (job.Record.Merge).
//  3. Progress events, and events that only a newer release knows, do not end a job.
func (u *Unprojectable) Fail(ctx context.Context, id string, e job.Entry) error {
	failed := event.Failed{JobID: id, Code: event.CodeUnprojectable, Detail: "The job's record could not be kept."}
	log, _, err := u.decider.append(ctx, id, func(log event.Log) (event.Event, error) {
		if _, ended := log.Terminal(); ended || len(log) == 0 || !needed(nameOf(e, log)) {
			return nil, nil
		}
		failed.Attempt = min(log.Attempt(), math.MaxInt32) // a greater number may be the reason why the event cannot be recorded
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

// placeholder returns the event to record instead of an event that cannot be recorded; nil if the
// record does not need one.
func placeholder(log event.Log, e job.Entry, name event.Name, failed event.Failed) event.Event {
	if name == event.NameErased { // the name of the event suffices
		return event.Erased{JobID: failed.JobID, Owner: storable(erased(failed.JobID, log).Owner)}
	}
	if name == event.NameExpired { // the name of the event suffices, too
		return event.Expired{JobID: failed.JobID}
	}
	if received, ok := e.Event.(event.Received); ok { // without the texts of the event, one of which may be invalid, so that clients see the job
		return event.Received{JobID: failed.JobID, TokenID: received.TokenID, Owner: storable(received.Owner)}
	}
	if name.Terminal() {
		return failed
	}
	return nil
}

// storable returns an owner that a record can contain. It returns no owner for any other: then the
// job belongs to admins.
func storable(owner string) string {
	if !principal.ValidOwner(owner) {
		return ""
	}
	return owner
}

// nameOf returns the name of an event. If the body of the event cannot be decoded, it returns the
// name from the log, which takes the name from the subject of the message. The name is empty if the
// log does not have the event, as for progress events.
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
