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

// Unstager removes entries from staging.
type Unstager interface {
	Unstage(ctx context.Context, entry string) error
}

// Events is what the streams hold of jobs.
type Events interface {
	// Settled reports whether a consumer has settled every event up to a sequence.
	Settled(ctx context.Context, consumer string, seq uint64) (bool, error)
	// Forget purges the events of a job from before its erased, which is at a sequence.
	Forget(ctx context.Context, job string, erased uint64) error
}

// EraserDependencies are what an Eraser works with.
type EraserDependencies struct {
	Objects        PrefixRemover
	Staging        Unstager
	Events         Events
	UploadConsumer string // the consumer that copies recordings
}

// Eraser removes what is left of erased jobs.
type Eraser struct{ EraserDependencies }

// NewEraser makes an Eraser.
func NewEraser(deps EraserDependencies) *Eraser { return &Eraser{deps} }

// HandleErased removes the objects and the staging entries of a job whose erased is at a sequence, and
// at last its events. It may run again for the same event, and at the same time in another replica.
//
// The job's recording may be copied at the same time. That copy finds erased in the log and removes the
// object that it put. If its process dies before, the next delivery of received does so: therefore the
// events stay until the consumer that copies has settled all events from before erased. A copy that
// begins later finds erased before it puts anything.
func (e *Eraser) HandleErased(ctx context.Context, erased event.Erased, seq uint64) error {
	settled, err := e.Events.Settled(ctx, e.UploadConsumer, seq) // before the objects are removed, not after
	if err != nil {
		return err
	}
	if err := e.Objects.RemovePrefix(ctx, keyPrefix(erased.JobID)); err != nil {
		return err
	}
	for _, entry := range erased.Staged {
		if err := e.Staging.Unstage(ctx, entry); err != nil {
			return err
		}
	}
	if !settled {
		return &fault.Error{
			Kind: fault.Unavailable, Code: "copies-in-hand", Told: true, // no failure: the event is delivered again
			Detail: "Uploads from before the erasure are in hand.",
		}
	}
	zerolog.Ctx(ctx).Info().Msg("recording erased")
	return e.Events.Forget(ctx, erased.JobID, seq)
}
