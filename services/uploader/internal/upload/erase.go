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

// Consumers knows how far consumers are.
type Consumers interface {
	// Settled reports whether a consumer has settled every event up to a sequence.
	Settled(ctx context.Context, consumer string, seq uint64) (bool, error)
}

// LogPurger purges the logs of erased jobs.
type LogPurger interface {
	// Purge removes the events of a job from before its erased event, which has the given sequence.
	Purge(ctx context.Context, job string, erased uint64) error
}

// DeadLetterDeleter deletes dead letters.
type DeadLetterDeleter interface {
	// DeleteOfJob deletes the dead letters of a job, except those of its erased event.
	DeleteOfJob(ctx context.Context, job string) error
}

// EraserDependencies are what an Eraser works with.
type EraserDependencies struct {
	Objects        PrefixRemover
	Staging        EntryDeleter
	Jobs           LogPurger
	DeadLetters    DeadLetterDeleter
	Consumers      Consumers
	UploadConsumer string // the consumer that copies recordings
}

// Eraser removes what is left of erased jobs.
type Eraser struct{ EraserDependencies }

// NewEraser makes an Eraser.
func NewEraser(deps EraserDependencies) *Eraser { return &Eraser{deps} }

// HandleErased removes the objects and the staging entries of an erased job, and at last its events. seq
// is the sequence of its erased event. It may run again for the same event, and at the same time in
// another replica.
//
// A replica may be copying the job's recording at the same time. It finds the erased event when it
// appends stored, and removes the object that it put. If it dies before, the next delivery of the
// received event removes the object: therefore the job's events stay until the upload consumer has
// settled all events from before the erased event. A replica that begins to copy later finds the erased
// event before it puts an object.
func (e *Eraser) HandleErased(ctx context.Context, erased event.Erased, seq uint64) error {
	settled, err := e.Consumers.Settled(ctx, e.UploadConsumer, seq) // before the objects are removed, not after
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
			Kind: fault.Unavailable, Code: "copies-in-hand", Logged: true, // no failure: the event is delivered again
			Detail: "Uploads from before the erasure are in hand.",
		}
	}
	zerolog.Ctx(ctx).Info().Msg("recording erased")
	if err := e.Jobs.Purge(ctx, erased.JobID, seq); err != nil {
		return err
	}
	return e.DeadLetters.DeleteOfJob(ctx, erased.JobID)
}
