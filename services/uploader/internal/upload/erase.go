package upload

import (
	"context"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// PrefixRemover removes objects from the bucket.
type PrefixRemover interface {
	// RemovePrefix removes every object whose key has a prefix.
	RemovePrefix(ctx context.Context, prefix string) error
}

// EntryDeleter deletes entries from staging.
type EntryDeleter interface {
	Delete(ctx context.Context, entry string) error
}

// Consumers reports the progress of consumers.
type Consumers interface {
	// Settled reports whether a consumer has settled every event up to a sequence.
	Settled(ctx context.Context, consumer string, seq uint64) (bool, error)
}

// LogPurger purges the logs of erased jobs.
type LogPurger interface {
	LogReader
	// Purge removes the events of a job before its event `erased`. The parameter erased is the
	// sequence of that event.
	Purge(ctx context.Context, job string, erased uint64) error
}

// DeadLetterDeleter deletes dead letters.
type DeadLetterDeleter interface {
	// DeleteOfJob deletes the dead letters of a job, except those of its event `erased`.
	DeleteOfJob(ctx context.Context, job string) error
}

// EraserDependencies has the dependencies of an Eraser.
type EraserDependencies struct {
	Objects        PrefixRemover
	Staging        EntryDeleter
	Jobs           LogPurger
	DeadLetters    DeadLetterDeleter
	Consumers      Consumers
	UploadConsumer string // name of the consumer that copies uploads
	FetchConsumer  string // name of the consumer that fetches recordings from URLs
}

// Eraser removes the data of erased jobs.
type Eraser struct{ EraserDependencies }

// NewEraser makes an Eraser.
func NewEraser(deps EraserDependencies) *Eraser { return &Eraser{deps} }

// HandleErased removes the objects and the staging entries of an erased job, and then the events of
// its log. seq is the sequence of the event `erased`. HandleErased may run again for the same
// event, even concurrently in another replica.
//
// A replica may be copying the job's recording at the same time. When the replica tries to append
// the event `stored`, it finds the event `erased` and removes the object that it has put. If the
// replica dies before that, the redelivery of the event `received` removes the object. Therefore
// the events of the job are kept until the consumer that copies or fetches the recording has
// settled all events before the event `erased`.
//
// A replica that begins to copy later leaves no object either: it puts an object only at the first
// delivery of an event, since at a redelivery it reads the log first. The first delivery is settled
// only after the replica has removed the object.
func (e *Eraser) HandleErased(ctx context.Context, erased event.Erased, seq uint64) error {
	log, err := e.Jobs.Read(ctx, erased.JobID)
	if err != nil {
		return err
	}
	consumer := e.UploadConsumer
	if received, _ := event.Last[event.Received](log); received.Source != "" { // slow fetches do not delay other erasures
		consumer = e.FetchConsumer
	}
	settled, err := e.Consumers.Settled(ctx, consumer, seq) // check this before the objects are removed
	if err != nil {
		return err
	}
	if err := e.Objects.RemovePrefix(ctx, keyPrefix(erased.JobID)); err != nil {
		return err
	}
	for _, entry := range erased.Staged {
		if err := e.Staging.Delete(ctx, entry); err != nil {
			return err
		}
	}
	if !settled {
		return &fault.Error{
			Kind: fault.Unavailable, Code: "copies-in-hand", Logged: true, // no failure: the event is redelivered
			Detail: "Uploads from before the erasure are in hand.",
		}
	}
	zerolog.Ctx(ctx).Info().Msg("recording erased")
	if err := e.Jobs.Purge(ctx, erased.JobID, seq); err != nil {
		return err
	}
	return e.DeadLetters.DeleteOfJob(ctx, erased.JobID)
}
